/** Behaviours in the traces of runs: arms, steps and chains, by rules and by a server that counts. */
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { countBehaviours, type BehaviourOptions } from "../src/behaviours.ts";
import { parseConfig } from "../src/core/config.ts";
import { writeJsonl } from "../src/core/jsonl.ts";
import { ownPath } from "../src/core/paths.ts";
import { createRunFolder } from "../src/core/run-folder.ts";
import { engineSchema } from "../src/engine/open.ts";
import { runArm } from "../src/eval/arm.ts";
import { recipeSchema } from "../src/recipe.ts";
import { runEpisode } from "../src/task/episode.ts";
import { chat, digitRecord, gradientImage, smallConfig } from "../src/task/fixtures/scene.ts";
import { ScriptedSampler } from "../src/task/fixtures/scripted-sampler.ts";
import { rewardConfigSchema, scoreEpisode } from "../src/task/reward.ts";
import { toTrace, TraceWriter } from "../src/task/trace.ts";
import type { ChainLine } from "../src/search/linearize.ts";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "vigorl-behaviours-"))));
afterAll(() => rmSync(folder, { recursive: true }));

const options: Omit<BehaviourOptions, "runs"> = {
  over: "all",
  limit: null,
  judge: null,
  concurrency: 4,
  command: "vigorl behaviours",
  quiet: true,
  signal: new AbortController().signal,
};

const recipe = parseConfig(
  JSON.stringify({
    engine: { model: ownPath("models/nano") },
    linearize: { correction: "no" },
    data: { heldout: [{ nano: "search", count: 1 }] },
  }),
  "recipe",
  recipeSchema,
);
const episode = smallConfig({
  zoom: { windowPx: 20 },
  episode: { maxTurns: 4, maxToolImages: 3, maxTokensPerTurn: 400, maxTotalTokens: 2000 },
});

const records = Array.from({ length: 4 }, (_, i) => ({
  ...digitRecord,
  id: `q${i}`,
  question: `which digit is on sign ${i}?`,
  images: [{ kind: "render" as const, name: `g${i}`, render: () => gradientImage(448, 448) }],
}));

const call = (thought: string, x: number, y: number) =>
  `<think> ${thought} </think>\n<tool_call>\n{"name": "search_coordinate", "arguments": {"coordinate": [${x}, ${y}]}}\n</tool_call>`;
const answer = (thought: string, text: string) =>
  `<think> ${thought} </think>\n<answer> ${text} </answer>`;

/** Looks at the sign, goes back to it after another, and answers. */
const careful = [
  call("First, I look at the sign (20, 30).", 20, 30),
  call("Wait, that is a bell no drop (90, 90).", 90, 90),
  call("Let me check again (21, 30). (500, 3)", 21, 30),
  answer("I can confirm that it is 7.", "7"),
];
const hasty = [answer("In the top left corner. <script>alert(1)</script>", "none")];

async function addArm(path: string, arm: string, script: readonly string[]): Promise<void> {
  await runArm({
    folder: path,
    task: "signs",
    arm,
    sampler: new ScriptedSampler(
      chat.tokenizer,
      records.flatMap(() => script),
    ),
    records,
    episode,
    config: { ...recipe.eval, concurrency: 1, traces: 3 },
    reward: recipe.rl.reward,
    rule: "default",
    condition: "none",
    seed: 1,
  });
}

async function evaluated(name: string, arms: Readonly<Record<string, readonly string[]>>) {
  const path = join(folder, name);
  await createRunFolder(path, { verb: "eval", name, seed: 1, recipe });
  for (const [arm, script] of Object.entries(arms)) await addArm(path, arm, script);
  return path;
}

test("arms are counted, compared with the main one in pairs, and shown", async () => {
  const run = await evaluated("arms", { model: careful, "no-tool": hasty });
  const { report, page } = await countBehaviours({ ...options, runs: [run] });
  const [model, control] = report.groups;
  expect(model).toMatchObject({ group: "model", traces: 3, kept: 3, asked: 4, right: 1 });
  const meansOf = ({ rules }: typeof model) =>
    Object.fromEntries(Object.entries(rules).map(([name, figure]) => [name, figure.mean]));
  expect(meansOf(model)).toMatchObject({
    looks: 3,
    places: 2,
    regions: 2,
    subgoals: 3,
    verification: 2,
    backtracking: 1,
    gaveUp: 0,
    outside: 1,
  });
  expect(meansOf(control)).toMatchObject({ looks: 0, regions: 1, gaveUp: 1 });
  const [looks] = report.differences;
  expect(looks).toMatchObject({
    group: "model",
    against: "no-tool",
    behaviour: "looks",
    difference: 3,
    paired: true,
    questions: [3, 3],
  });
  const shown = readFileSync(page, "utf8");
  expect(shown).toContain("I can confirm that it is 7.");
  expect(shown).toMatch(/<image\s+id="i[0-9a-f]+"\s+width="448"\s+height="448"/);
  expect(shown).toContain('<circle r="');
  expect(shown).not.toContain("<script>");
  expect(JSON.parse(readFileSync(join(run, "behaviours.json"), "utf8"))).toEqual(report);
});

test("right traces alone, and none at all, say so", async () => {
  const run = await evaluated("right", { model: careful, "no-tool": hasty });
  const right = await countBehaviours({ ...options, runs: [run], over: "right" });
  expect(right.report.groups.map(({ traces }) => traces)).toEqual([3, 0]);
  expect(right.report.differences).toEqual([]);
  const wrong = await evaluated("wrong", { model: hasty });
  const asked = { ...options, runs: [wrong], over: "right" } as const;
  await expect(countBehaviours(asked)).rejects.toThrow(/no trace has a right answer/);
});

test("two runs are compared by what they are about, or by groups that are named", async () => {
  const a = await evaluated("a", { model: careful, "no-tool": hasty });
  const b = await evaluated("b", { model: hasty });
  const { report } = await countBehaviours({ ...options, runs: [a, b] });
  expect(report.groups.map(({ group }) => group)).toEqual([`${a}:model`, `${b}:model`]);
  expect(report.differences[0]).toMatchObject({ difference: 3, paired: true });
  const within = await countBehaviours({ ...options, runs: [`${a}:no-tool`, `${a}:model`] });
  expect(within.report.differences[0]).toMatchObject({ difference: -3, paired: true });
  const none = (runs: string[]) => countBehaviours({ ...options, runs });
  await expect(none([`${a}:nix`])).rejects.toThrow(/has no group nix/);
  await expect(none([a, a])).rejects.toThrow(/with itself/);
});

test("training is counted step by step, while it runs too; chains by their kind", async () => {
  const path = join(folder, "rl");
  await createRunFolder(path, { verb: "rl", name: "rl", seed: 1, recipe });
  const writer = new TraceWriter(path);
  for (const [step, script] of [hasty, careful].entries())
    for (const [member, record] of [records[0], records[0], records[step + 1]].entries()) {
      const sampler = new ScriptedSampler(chat.tokenizer, script);
      const played = await runEpisode(sampler, record, episode, member);
      const reward = scoreEpisode(played, record, rewardConfigSchema.parse({}));
      await writer.append(toTrace(played, record, reward, { step, member }, chat), played);
    }
  const file = join(path, "traces.jsonl");
  const torn = readFileSync(file, "utf8").slice(0, 40);
  await writeJsonl(join(path, "chains.jsonl"), [
    chainOf("direct", [careful[0], careful[3]]),
    chainOf("backtrack", careful),
  ]);
  const { appendFile } = await import("node:fs/promises");
  await appendFile(file, torn);
  const { report } = await countBehaviours({ ...options, runs: [path] });
  const rows = report.groups.map(({ group, traces, questions, right, rules }) => [
    [group, traces, questions, right],
    [rules.looks?.mean, rules.verification?.mean, rules.backtracking?.mean],
  ]);
  expect(rows).toEqual([
    [
      ["step-0", 3, 2, 0],
      [0, 0, 0],
    ],
    [
      ["step-1", 3, 2, 1],
      [3, 2, 1],
    ],
    [
      ["direct-chains", 1, 1, 1],
      [1, 1, 0],
    ],
    [
      ["backtrack-chains", 1, 1, 1],
      [3, 2, 1],
    ],
  ]);
  expect(report.differences[0]).toMatchObject({ group: "step-1", against: "step-0", paired: true });
});

function chainOf(kind: ChainLine["kind"], turns: string[]): ChainLine {
  const { id: recordId, question } = records[0];
  const head = {
    version: 2,
    id: `${recordId}#${kind}`,
    recordId,
    question,
    category: null,
  } as const;
  const seen = { widthPx: 112, heightPx: 112 };
  return { ...head, kind, turns, answer: "7", places: [], pictures: [], seen, detours: [] };
}

test("folders without traces, and traces of other versions, are refused", async () => {
  const path = join(folder, "none");
  await createRunFolder(path, { verb: "sft", name: "none", seed: 1, recipe });
  const counted = () => countBehaviours({ ...options, runs: [path] });
  await expect(counted()).rejects.toThrow(/holds no traces/);
  await writeJsonl(join(path, "traces.jsonl"), []);
  await expect(counted()).rejects.toThrow(/holds no traces/);
  await writeJsonl(join(path, "traces.jsonl"), [{ version: 1 }]);
  await expect(counted()).rejects.toThrow(/traces\.jsonl:1: .*version 1/);
});

test("a server counts, too; what it said is kept, and asked no more", async () => {
  const server = await startCounter();
  try {
    const run = await evaluated("judged", { model: careful, "no-tool": hasty });
    const { port } = server.at.address() as AddressInfo;
    const judge = engineSchema.parse({ kind: "openai", url: `http://127.0.0.1:${port}/v1` });
    const asked = { ...options, runs: [run], judge };
    const { report } = await countBehaviours(asked);
    expect(report.judge).toMatch(/^counter at http/);
    const [model, control] = report.groups;
    expect(model.judge?.figures.verification).toMatchObject({ mean: 2, questions: 3 });
    expect(model.judge?.unread).toMatchObject({ verification: 0, backtracking: 3 });
    expect(model.judge?.figures.backtracking).toBeUndefined();
    expect(model.judge?.agreement.verification.present).toBe(1);
    expect(control.judge?.agreement.verification.present).toBe(0);
    // The traces of an arm say the same: four questions for each arm.
    expect(server.asked.length).toBe(8);
    await countBehaviours(asked);
    expect(server.asked.length).toBe(8);
    expect(readdirSync(join(run, "judgements"))).toHaveLength(8);
    expect(existsSync(join(run, "behaviours.html"))).toBe(true);
  } finally {
    server.at.close();
  }
});

/** Says that everything is there twice; of backtracking, nothing that could be read. */
async function startCounter(): Promise<{ at: Server; asked: string[] }> {
  const asked: string[] = [];
  const at = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      if (request.method === "GET") {
        response.setHeader("content-type", "application/json");
        return void response.end(JSON.stringify({ object: "list", data: [{ id: "counter" }] }));
      }
      asked.push(body);
      const text = body.includes("Count the backtracking") ? "many" : "<count>2</count>";
      const event = (delta: object, finish: string | null) =>
        `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
      response.setHeader("content-type", "text/event-stream");
      response.end(`${event({ content: text }, null)}${event({}, "stop")}data: [DONE]\n\n`);
    });
  }).listen(0, "127.0.0.1");
  await once(at, "listening");
  return { at, asked };
}
