import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeTinyModel, tinyEpisode, tinyRecords } from "../../test/fixtures/tiny.ts";
import { meanInterval } from "../core/statistics.ts";
import { openLocalEngine, type LocalEngine } from "../engine/local/client.ts";
import type { Sampler } from "../engine/types.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { loadImages } from "../task/record.ts";
import { rewardConfigSchema } from "../task/reward.ts";
import { ScriptedSampler } from "../task/fixtures/scripted-sampler.ts";
import { makeTools } from "../task/tools/table.ts";
import { readTraces } from "../task/trace.ts";
import { armFolder } from "./arm-files.ts";
import { runArm } from "./arm.ts";
import { conditionTable, conditions } from "./controls.ts";
import { armOf, compareArms } from "./count.ts";
import { evalSchema, evaluate } from "./evaluate.ts";
import { answeredByBoth, perQuestion, type Outcome } from "./outcome.ts";

let folder: string;
let engine: LocalEngine;
let episode: EpisodeConfig;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-evaluate-"));
  await makeTinyModel(folder);
  engine = await openLocalEngine(folder, { threads: 1, numSlots: 8 });
  episode = await tinyEpisode(folder, false);
});
afterAll(async () => {
  await engine.close();
  await rm(folder, { recursive: true, force: true });
});

test("one question at a time or many at once: the same tokens, in the order of the records", async () => {
  const records = tinyRecords(12);
  const run = async (concurrency: number) => {
    const said = new Map<string, string>();
    const { outcomes } = await evaluate({
      sampler: engine,
      records,
      episode,
      config: evalSchema.parse({ temperature: 1, concurrency }),
      condition: "none",
      seed: 4,
      onEpisode: ({ recordId, response }) => void said.set(recordId, response),
    });
    expect(outcomes.map((outcome) => outcome.recordId)).toEqual(records.map(({ id }) => id));
    return outcomes.map(({ recordId }) => said.get(recordId));
  };
  const alone = await run(1);
  expect(await run(64)).toEqual(alone);
  expect(new Set(alone).size).toBeGreaterThan(3);
});

test("an arm's traces stand in the order of the questions, whichever ends first", async () => {
  const records = tinyRecords(6);
  const delayed: Sampler = {
    capabilities: engine.capabilities,
    sample: async (...args) => {
      const waitMs = 120 - 20 * asked++;
      const reply = await engine.sample(...args);
      await sleep(waitMs);
      return reply;
    },
    close: () => Promise.resolve(),
  };
  let asked = 0;
  await runArm({
    folder,
    task: "search",
    arm: "model",
    sampler: delayed,
    records,
    episode,
    config: evalSchema.parse({ traces: 4 }),
    reward: rewardConfigSchema.parse({}),
    rule: "default",
    condition: "none",
    seed: 4,
  });
  const traces = await readTraces(join(armFolder(folder, "search", "model"), "traces.jsonl"));
  expect(traces.map(({ recordId }) => recordId)).toEqual(records.slice(0, 4).map(({ id }) => id));
});

/** What an outcome says of a reply that does not matter here. */
const silent = { tokens: { written: 0, read: 0 }, reply: { text: "", view: null } };

test("no questions, an abort, a broken picture", async () => {
  const options = {
    sampler: engine,
    episode,
    config: evalSchema.parse({}),
    condition: "none" as const,
    seed: 1,
  };
  await expect(evaluate({ ...options, records: [] })).rejects.toThrow("no question");
  const reason = new Error("enough");
  const signal = AbortSignal.abort(reason);
  await expect(evaluate({ ...options, records: tinyRecords(2), signal })).rejects.toBe(reason);
  const [record] = tinyRecords(1);
  const broken = { ...record, images: [{ kind: "path" as const, path: join(folder, "none.png") }] };
  const { outcomes } = await evaluate({ ...options, records: [broken] });
  expect(outcomes[0]).toMatchObject({ score: 0, stopReason: "inputError" });
  expect(outcomes[0].error).toContain("none.png");
});

test("conditions take one thing away and leave the rest", async () => {
  const [mark] = makeTools({ mark: { widthPx: 1 } });
  const changed = conditions.map((condition) => {
    const { tool } = conditionTable[condition];
    return tool === null ? mark : tool(mark);
  });
  expect(changed.map((tool) => tool?.control)).toEqual([
    null,
    "blank",
    "elsewhere",
    undefined,
    null,
    null,
  ]);
  const [record] = tinyRecords(1);
  expect(conditionTable["crop-blank"].record(record)).toBe(record);
  const [seen] = await loadImages(record);
  const [black] = await loadImages(conditionTable["no-image"].record(record));
  expect([black.widthPx, black.heightPx]).toEqual([seen.widthPx, seen.heightPx]);
  expect(seen.data.some((level) => level > 0)).toBe(true);
  expect(black.data.every((level) => level === 0)).toBe(true);
});

test("arms count by category and by stop reason; comparisons are paired", () => {
  const outcome = (i: number, score: number): Outcome => ({
    recordId: `q${i}`,
    category: i % 2 === 0 ? "even" : "odd",
    score,
    answer: null,
    ...silent,
    toolUses: i % 3,
    stopReason: score === 1 ? "answered" : "noAnswer",
    error: null,
  });
  const ours = Array.from({ length: 40 }, (_, i) => outcome(i, i < 30 ? 1 : 0));
  const theirs = Array.from({ length: 40 }, (_, i) => outcome(i, i < 10 ? 1 : 0));
  const arm = armOf("ours", "search", { outcomes: ours, seconds: 3 });
  expect(arm).toMatchObject({ n: 40, accuracy: 0.75, stopReasons: { answered: 30, noAnswer: 10 } });
  expect(Object.keys(arm.categories)).toEqual(["even", "odd"]);
  expect(arm.categories.even.n).toBe(20);
  const comparison = compareArms("search", ["ours", ours], ["theirs", theirs]);
  expect(comparison.difference).toBe(0.5);
  expect(comparison.ci95[0]).toBeGreaterThan(0.3);
  expect(comparison.p).toBeCloseTo(2 / 2 ** 20, 10);
});

test("several samples: other draws of the same question, which count once together", async () => {
  const records = tinyRecords(6);
  const run = async (samples: number) => {
    const said: string[] = [];
    const { outcomes } = await evaluate({
      sampler: engine,
      records,
      episode,
      config: evalSchema.parse({ temperature: 1, samples, concurrency: 1 }),
      condition: "none",
      seed: 4,
      onEpisode: ({ response }) => void said.push(response),
    });
    return { outcomes, said };
  };
  const [once, thrice] = [await run(1), await run(3)];
  expect(thrice.outcomes.map(({ recordId, sample }) => [recordId, sample])).toEqual(
    records.flatMap(({ id }) => [0, 1, 2].map((sample) => [id, sample])),
  );
  expect(thrice.said.filter((_, i) => i % 3 === 0)).toEqual(once.said);
  expect(new Set(thrice.said).size).toBeGreaterThan(6);
});

test("accuracy is averaged over samples, intervals are over questions", () => {
  const sample = (question: number, index: number, score: number | null): Outcome => ({
    recordId: `q${question}`,
    sample: index,
    category: null,
    score: score ?? 0,
    answer: null,
    ...silent,
    toolUses: index,
    stopReason: score === null ? "samplerError" : "answered",
    error: score === null ? "gone" : null,
  });
  const outcomes = [
    ...[1, 1, 0, 0].map((score, i) => sample(0, i, score)),
    ...[1, null, 1, 1].map((score, i) => sample(1, i, score)),
    ...[null, null, null, null].map((score, i) => sample(2, i, score)),
  ];
  const arm = armOf("a", "t", { outcomes, seconds: 1 });
  expect(arm).toMatchObject({ n: 2, accuracy: 0.75, unanswered: { count: 1, reason: "gone" } });
  expect(arm.stopReasons).toEqual({ answered: 7, samplerError: 5 });
  expect(arm.toolUsesPerEpisode).toBeCloseTo((6 + 5) / 7);
  expect([arm.ci95[0], arm.ci95[1]]).toEqual([...meanInterval([0.5, 1], 8)]);
  expect(arm.sampled).toMatchObject({ samples: 4, majority: null });
  expect(perQuestion(outcomes).map(({ score }) => score)).toEqual([0.5, 1, 0]);
});

test.each([
  ["judged", [1, 1, 1]],
  ["wrong", [1, 0, 1]],
] as const)("an answer behind a turn without a thought is %s", async (malformed, scores) => {
  const [record] = tinyRecords(1);
  const config = await tinyEpisode(folder, true);
  const call = '<tool_call>\n{"name": "search_coordinate", "arguments": {"coordinate": [5, 5]}}\n';
  const answer = `<answer>${record.answer as string}</answer>`;
  const replies = [
    [`<think>there</think>\n${call}</tool_call>`, `<think>so</think>${answer}`],
    [`${call}</tool_call>`, `<think>so</think>${answer}`],
    [answer], // no turn before it
  ];
  const found: number[] = [];
  for (const script of replies) {
    const { outcomes } = await evaluate({
      sampler: new ScriptedSampler(config.chat.tokenizer, script),
      records: [record],
      episode: config,
      config: evalSchema.parse({ malformed }),
      condition: "none",
      seed: 1,
    });
    expect(outcomes[0].stopReason).toBe("answered");
    found.push(outcomes[0].score);
  }
  expect(found).toEqual(scores);
});

test("a question that could not be asked is no wrong answer", () => {
  const outcome = (i: number, broken: boolean): Outcome => ({
    recordId: `q${i}`,
    category: null,
    score: broken ? 0 : 1,
    answer: broken ? null : "7",
    ...silent,
    toolUses: 0,
    stopReason: broken ? "inputError" : "answered",
    error: broken ? `q${i}.png: image not found` : null,
  });
  const ours = Array.from({ length: 10 }, (_, i) => outcome(i, i < 4));
  const theirs = Array.from({ length: 10 }, (_, i) => outcome(i, i > 7));
  expect(armOf("ours", "search", { outcomes: ours, seconds: 1 })).toMatchObject({
    n: 6,
    accuracy: 1,
    stopReasons: { inputError: 4, answered: 6 },
    unanswered: { count: 4, reason: "q0.png: image not found" },
  });
  expect(answeredByBoth(ours, theirs)).toEqual([4, 5, 6, 7]);
  expect(compareArms("search", ["ours", ours], ["theirs", theirs]).difference).toBe(0);
});
