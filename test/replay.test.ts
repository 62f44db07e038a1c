/** Finished evaluations without a model: replies under other rules, and runs against each other. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createRunFolder } from "../src/core/run-folder.ts";
import { parseConfig } from "../src/core/config.ts";
import { runArm } from "../src/eval/arm.ts";
import { recipeSchema, loadTasks } from "../src/recipe.ts";
import { compareRuns, replayRun } from "../src/replay.ts";
import { inputHashes } from "../src/run-inputs.ts";
import { chat, smallConfig } from "../src/task/fixtures/scene.ts";
import { ScriptedSampler } from "../src/task/fixtures/scripted-sampler.ts";
import { encodePng } from "../src/image/decode.ts";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-replay-"));
  const grey = { widthPx: 64, heightPx: 64, data: new Uint8Array(64 * 64 * 3).fill(90) };
  writeFileSync(join(folder, "grey.png"), await encodePng(grey));
  const lines = Array.from({ length: 8 }, (_, i) => ({
    id: `q${i}`,
    image: "grey.png",
    question: `What is on sign ${i}?`,
    answer: `word${i}`,
    kind: "text",
    category: i % 2 === 0 ? "even" : "odd",
  }));
  writeFileSync(
    join(folder, "questions.jsonl"),
    lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A run of eval whose model answers question i with `answers[i]`. */
async function madeRun(
  name: string,
  answers: readonly string[],
  file = "questions.jsonl",
  settings: object = {},
) {
  const source = {
    data: { heldout: [{ file: join(folder, file), task: "signs" }] },
    eval: settings,
  };
  const recipe = parseConfig(JSON.stringify(source), "recipe", recipeSchema);
  const path = join(folder, name);
  const sets = await loadTasks(recipe, "heldout");
  const dataHashes = await inputHashes(recipe, {}, sets);
  await createRunFolder(path, { verb: "eval", name, seed: 1, recipe, dataHashes });
  const script = answers.map((text) => `<think>so</think><answer>${text}</answer>`);
  await runArm({
    folder: path,
    task: "signs",
    arm: "model",
    sampler: new ScriptedSampler(chat.tokenizer, script),
    records: sets[0].records,
    episode: smallConfig({}),
    config: { ...recipe.eval, concurrency: 1 },
    reward: recipe.rl.reward,
    rule: "default",
    condition: "none",
    seed: 1,
  });
  return path;
}
const right = (i: number) => `word${i}`;
const eight = Array.from({ length: 8 }, (_, i) => i);

test("replies are scored by every rule; what turned is counted, and the run's own rule is named", async () => {
  const loose = eight.map((i) => (i < 4 ? right(i) : i < 6 ? `it may be word${i} or not` : "none"));
  const run = await madeRun("loose", loose);
  const { rows, page } = await replayRun(run);
  const [ours, repo] = rows;
  expect(ours).toMatchObject({
    rule: "default",
    isOwn: true,
    n: 8,
    accuracy: 0.5,
    gained: 0,
    lost: 0,
  });
  expect(repo).toMatchObject({ rule: "repo", isOwn: false, accuracy: 0.75, gained: 2, lost: 0 });
  expect(readFileSync(page, "utf8")).toContain("| signs | model | repo | 8 | 75.0 |");
});

test("of several samples the mean, pass@k and the majority are scored again", async () => {
  const answers = eight.flatMap((i) => [`it is word${i}`, right(i), "none"]);
  const sampled = { samples: 3, temperature: 1 };
  const { rows, page } = await replayRun(
    await madeRun("sampled", answers, "questions.jsonl", sampled),
  );
  const [ours, repo] = rows;
  expect(ours).toMatchObject({ n: 24, accuracy: 1 / 3 });
  expect(ours.sampled?.passAt.at(-1)).toMatchObject({ k: 3, n: 8, accuracy: 1 });
  expect(ours.sampled?.majority).toMatchObject({ accuracy: 0, ties: 8 });
  expect(repo).toMatchObject({ n: 24, gained: 8, lost: 0 });
  expect(repo.accuracy).toBeCloseTo(2 / 3, 12);
  expect(repo.sampled?.majority).toMatchObject({ accuracy: 1 });
  expect(readFileSync(page, "utf8")).toContain("| 100.0 (k = 3) | 0.0 |");
});

test("two runs on the same questions are paired, over all and in each category", async () => {
  const a = await madeRun("a", eight.map(right));
  const b = await madeRun(
    "b",
    eight.map((i) => (i % 2 === 0 ? right(i) : "wrong")),
  );
  const { names, compared } = await compareRuns(a, b);
  expect(names).toEqual([a, b]);
  const [{ overall, categories, onlyOurs, onlyTheirs }] = compared;
  expect(overall).toMatchObject({ n: 8, accuracy: 1, against: 0.5, difference: 0.5, p: 0.125 });
  expect(categories).toMatchObject({ even: { difference: 0 }, odd: { difference: 1, n: 4 } });
  expect(onlyOurs).toEqual(["q1", "q3", "q5", "q7"]);
  expect(onlyTheirs).toEqual([]);
});

test("runs that were asked something else are not compared, and changed truths not scored", async () => {
  const a = await madeRun("first", eight.map(right));
  const text = readFileSync(join(folder, "questions.jsonl"), "utf8");
  writeFileSync(join(folder, "others.jsonl"), text.replace("on sign 3", "on the sign 3"));
  const b = await madeRun("second", eight.map(right), "others.jsonl");
  await expect(compareRuns(a, b)).rejects.toThrow(/were asked different questions/);
  await expect(compareRuns(a, `${a}:crop-blank`)).rejects.toThrow(/has no arm crop-blank/);
  mkdirSync(join(folder, "empty"));
  await expect(replayRun(join(folder, "empty"))).rejects.toThrow(/empty/);
  writeFileSync(join(folder, "others.jsonl"), text);
  await expect(replayRun(b)).rejects.toThrow(/others.jsonl was changed/);
});
