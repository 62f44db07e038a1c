/** A human study from a run's traces to its score: items for people, the key, and what is refused. */
import { createServer } from "node:http";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseConfig } from "../src/core/config.ts";
import { readJsonlAll, writeJsonl } from "../src/core/jsonl.ts";
import { ownPath } from "../src/core/paths.ts";
import { createRunFolder } from "../src/core/run-folder.ts";
import { engineSchema } from "../src/engine/open.ts";
import { runArm } from "../src/eval/arm.ts";
import { itemSchema, keySchema } from "../src/eval/study/files.ts";
import { decodeImage, encodePng } from "../src/image/decode.ts";
import { loadTasks, recipeSchema } from "../src/recipe.ts";
import { inputHashes } from "../src/run-inputs.ts";
import { exportStudy, scoreRatings, type StudyOptions } from "../src/study.ts";
import { chat, gradientImage, smallConfig } from "../src/task/fixtures/scene.ts";
import { ScriptedSampler } from "../src/task/fixtures/scripted-sampler.ts";

let folder: string;
let run: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-study-"));
  writeFileSync(join(folder, "sign.png"), await encodePng(gradientImage(448, 224)));
  const questions = Array.from({ length: 6 }, (_, i) => ({
    id: `q${i}`,
    image: "sign.png",
    question: `What is on sign ${i}?`,
    answer: "7",
    kind: "text",
  }));
  await writeJsonl(join(folder, "questions.jsonl"), questions);
  run = await madeRun("run", (i) => `a red star (${10 + i}, 20)\nand (1, 2) (3, 4)\nso it is`);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A run whose model thinks so of question i; the last one is answered wrong. */
async function madeRun(name: string, thought: (i: number) => string): Promise<string> {
  const source = {
    engine: { model: ownPath("models/nano") },
    data: { heldout: [{ file: join(folder, "questions.jsonl"), task: "signs" }] },
  };
  const recipe = parseConfig(JSON.stringify(source), "recipe", recipeSchema);
  const sets = await loadTasks(recipe, "heldout");
  const path = join(folder, name);
  const dataHashes = await inputHashes(recipe, {}, sets);
  await createRunFolder(path, { verb: "eval", name, seed: 1, recipe, dataHashes });
  const script = [...sets[0].records].map(
    (_, i) => `<think> ${thought(i)} </think>\n<answer> ${i === 5 ? 1 : 7} </answer>`,
  );
  await runArm({
    folder: path,
    task: "signs",
    arm: "model",
    sampler: new ScriptedSampler(chat.tokenizer, script),
    records: sets[0].records,
    episode: smallConfig({ episode: { maxTokensPerTurn: 400, maxTotalTokens: 2000 } }),
    config: { ...recipe.eval, concurrency: 1 },
    reward: recipe.rl.reward,
    rule: "default",
    condition: "none",
    seed: 1,
  });
  return path;
}

const optionsFor = (out: string): StudyOptions => ({
  runs: [run],
  out: join(folder, out),
  sentences: 4,
  perQuestion: 1,
  conditions: ["marked", "masked"],
  over: "all",
  pictures: "original",
  circlePx: 40,
  sidePx: 224,
  seed: 1,
  judge: null,
  concurrency: 3,
  quiet: true,
  signal: new AbortController().signal,
});

test("items show a place or hide it; the key alone says what they are", async () => {
  const options = optionsFor("first");
  const made = await exportStudy(options);
  expect(made).toMatchObject({ items: 8, sentences: 4, traces: 6, left: 2 });
  expect(made.dropped).toMatchObject({ noPoint: 6, severalPoints: 6, outside: 0 });
  const items = await readJsonlAll(join(options.out, "items.jsonl"), itemSchema);
  const key = await readJsonlAll(made.key, keySchema);
  expect(items.map(({ id }) => id).sort()).toEqual(key.map(({ id }) => id).sort());
  for (const line of key) {
    const item = items.find(({ id }) => id === line.id);
    expect(item?.condition).toBe(line.condition);
    const image = await decodeImage(join(options.out, item?.image ?? ""));
    expect([image.widthPx, image.heightPx]).toEqual([224, 112]);
    const i = Number(line.recordId.slice(1));
    expect(line).toMatchObject({ group: "model", written: `a red star (${10 + i}, 20)` });
    expect(line.shown.x).toBeCloseTo(line.point.x / 2, 9);
    const { x, y } = line.shown;
    const at = (Math.floor(y) * 224 + Math.floor(x) + 18) * 3;
    expect(image.data[at + 2] > 200).toBe(line.condition === "marked");
  }
  const told = ["items.jsonl", "study.json"].map((name) =>
    readFileSync(join(options.out, name), "utf8"),
  );
  for (const text of told) expect(text).not.toMatch(/q\d|model|\(\d|runs|"red star \(/);
  expect(readdirSync(options.out).sort()).toEqual(["images", "items.jsonl", "study.json"]);
  expect(readdirSync(join(options.out, "images"))).toHaveLength(8);
});

test("the same seed gives the same bytes, another one others; nothing is written over", async () => {
  const bytes = (out: string) =>
    ["items.jsonl", "study.json"].map((name) => readFileSync(join(folder, out, name), "utf8"));
  await exportStudy(optionsFor("again"));
  await exportStudy(optionsFor("twice"));
  await exportStudy({ ...optionsFor("other"), seed: 2 });
  expect(bytes("again")).toEqual(bytes("twice"));
  const key = (out: string) => readFileSync(join(folder, `${out}.key.jsonl`), "utf8");
  expect(key("again")).toBe(key("twice"));
  expect(bytes("other")[0]).not.toBe(bytes("again")[0]);
  await expect(exportStudy(optionsFor("again"))).rejects.toThrow(/again: is there already/);
  rmSync(join(folder, "twice"), { recursive: true });
  await expect(exportStudy(optionsFor("twice"))).rejects.toThrow(/twice\.key\.jsonl: is there/);
});

test("pictures as seen need no data; right answers alone; runs give evenly", async () => {
  const seen = optionsFor("seen");
  await exportStudy({ ...seen, pictures: "seen", sidePx: 1000, conditions: ["marked"] });
  const [item] = await readJsonlAll(join(seen.out, "items.jsonl"), itemSchema);
  const { widthPx } = await decodeImage(join(seen.out, item.image));
  expect(widthPx).toBeLessThan(224);
  const right = await exportStudy({ ...optionsFor("right"), over: "right", sentences: 80 });
  expect(right).toMatchObject({ sentences: 5, left: 0 });
  const other = await madeRun("beside", (i) => `a blue bell (${10 + i}, 20)`);
  const both = await exportStudy({ ...optionsFor("both"), runs: [run, `${other}:model`] });
  const key = await readJsonlAll(both.key, keySchema);
  expect(key.filter((line) => line.run === other)).toHaveLength(4);
});

test("what cannot be shown is refused with its reason", async () => {
  const mute = await madeRun("mute", () => "no place at all");
  const refused = (changes: Partial<StudyOptions>, why: RegExp) =>
    expect(exportStudy({ ...optionsFor("refused"), ...changes })).rejects.toThrow(why);
  await refused({ runs: [mute] }, /no sentence of 6 traces names one place .*6 without/);
  await refused({ runs: [`${run}:nix`] }, /holds no traces of nix/);
  await refused({ runs: [join(folder, "nowhere")] }, /nowhere/);
  const picture = readFileSync(join(folder, "sign.png"));
  writeFileSync(join(folder, "sign.png"), await encodePng(gradientImage(448, 448)));
  await refused({}, /pictures of signs was changed/);
  writeFileSync(join(folder, "sign.png"), picture);
  expect(existsSync(join(folder, "refused"))).toBe(false);
  expect(existsSync(join(folder, "refused.key.jsonl"))).toBe(false);
});

test("a model leaves out what cannot be understood alone, whatever it is asked at once", async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      if (request.method === "GET")
        return void response.end(JSON.stringify({ object: "list", data: [{ id: "reader" }] }));
      asked.push(body);
      const text = body.includes("bell") ? "Alone: no" : "Alone: yes";
      const event = (delta: object, finish: string | null) =>
        `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
      response.setHeader("content-type", "text/event-stream");
      response.end(`${event({ content: text }, null)}${event({}, "stop")}data: [DONE]\n\n`);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const words = ["a star", "a bell", "a drop", "a bell tower", "a moon", "a flag"];
    const mixed = await madeRun("mixed", (i) => `${words[i]} (${10 + i}, 20)`);
    const { port } = server.address() as AddressInfo;
    const judge = engineSchema.parse({ kind: "openai", url: `http://127.0.0.1:${port}/v1` });
    const options = { ...optionsFor("alone"), runs: [mixed], judge, sentences: 4 };
    const made = await exportStudy(options);
    expect(made).toMatchObject({ sentences: 4, left: 0 });
    expect(asked[0]).not.toContain("(1");
    const numAsked = asked.length;
    const slow = await exportStudy({ ...options, out: join(folder, "slow"), concurrency: 1 });
    expect(slow.dropped).toEqual(made.dropped);
    expect(readFileSync(slow.key, "utf8")).toBe(readFileSync(made.key, "utf8"));
    expect(asked).toHaveLength(numAsked);
  } finally {
    server.close();
  }
});

test("ratings are scored by the key, and the score lies beside them", async () => {
  const made = await exportStudy(optionsFor("rated"));
  const items = await readJsonlAll(join(made.out, "items.jsonl"), itemSchema);
  const ratings = items.map(({ id, form, condition, position }) => ({
    participant: `person ${form}`,
    item: id,
    ...(condition === "marked" ? { accuracy: position === 1 ? "no" : "yes", helpfulness: 4 } : {}),
    clarity: condition === "marked" ? 5 : 3,
  }));
  const file = join(folder, "ratings.jsonl");
  await writeJsonl(file, ratings);
  const { score, page } = await scoreRatings(file, made.key, 1);
  expect(score).toMatchObject({ persons: 2, ratings: 8, items: 8 });
  expect(score.all.helpfulness).toMatchObject({ mean: 4, ci95: [4, 4] });
  expect(score.all.clarityGained).toMatchObject({ difference: 2, persons: 2 });
  expect(readFileSync(page, "utf8")).toContain("| accuracy of points, % |");
  expect(JSON.parse(readFileSync(join(folder, "ratings.score.json"), "utf8"))).toEqual(score);
  const [first] = await readJsonlAll(made.key, keySchema);
  await writeJsonl(join(folder, "twice.key.jsonl"), [first, first]);
  const bad = scoreRatings(file, join(folder, "twice.key.jsonl"), 1);
  await expect(bad).rejects.toThrow(/has the item .* twice/);
  await writeJsonl(join(folder, "no.key.jsonl"), []);
  await expect(scoreRatings(file, join(folder, "no.key.jsonl"), 1)).rejects.toThrow(/no items/);
  const items2 = join(made.out, "items.jsonl");
  await expect(scoreRatings(file, items2, 1)).rejects.toThrow(/items\.jsonl:1: /);
});
