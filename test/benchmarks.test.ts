/** `vigorl eval --benchmark` from outside: a published layout in, a report with the protocol's figures out. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseConfig } from "../src/core/config.ts";
import { benchmarkList } from "../src/eval/benchmarks/list.ts";
import { benchmarks } from "../src/eval/benchmarks/table.ts";
import { loadTasks, recipeSchema } from "../src/recipe.ts";
import { png, put, putJsonl } from "../src/eval/benchmarks/fixtures/published.ts";

const root = resolve(import.meta.dirname, "..");
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-benchmarks-"));
  put(folder, "data/direct_attributes/sa_0001.jpg", await png(120, 80));
  const row = {
    image: "direct_attributes/sa_0001.jpg",
    text: "Which colour?\n(A) red\n(B) blue\nAnswer with the option's letter from the given choices directly.",
    category: "direct_attributes",
    label: "A",
  };
  putJsonl(folder, "data/test_questions.jsonl", [
    { ...row, question_id: 0 },
    { ...row, question_id: 1, category: "relative_position" },
  ]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function vigorl(...args: string[]) {
  const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
  return spawnSync(process.execPath, ["--import", loader, join(root, "src/cli.ts"), ...args], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, OMP_NUM_THREADS: "1" },
  });
}

test("a run keeps replies, verdicts, hashes of the data and the protocol's figures", () => {
  const control = "--eval.controls=[options-shuffled]";
  const flags = ["--benchmark", "vstar", "--data", "data", control, "--name", "v"];
  const { status, stdout, stderr } = vigorl("eval", ...flags, "--protocol", "lmms-eval", "--json");
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const { arms } = JSON.parse(stdout) as { arms: Record<string, unknown>[] };
  const [arm, shuffled] = arms;
  expect(arm.n).toBe(2);
  expect(shuffled).toMatchObject({
    name: "options-shuffled",
    n: 2,
    options: { n: 2, leftOut: {} },
  });
  expect(arm.benchmark).toMatchObject({
    name: "vstar",
    protocol: "lmms-eval",
    figures: [{ name: "overall", n: 2 }, { n: 1 }, { n: 1 }],
  });
  const read = (path: string) => readFileSync(join(folder, "runs/v", path), "utf8");
  expect(Object.keys(JSON.parse(read("manifest.json")).dataHashes)).toContain(
    "vstar/test_questions.jsonl",
  );
  const [outcome] = read("eval/vstar/model/outcomes.jsonl").split("\n");
  expect(JSON.parse(outcome)).toMatchObject({ reply: { text: expect.any(String) }, verdict: {} });
  expect(read("report.md")).toContain("V\\* Bench, protocol lmms-eval");
  expect(read("report.md")).toContain("### options-shuffled: by place");
  const replayed = vigorl("eval", "--replay", "runs/v", "--json");
  expect(replayed.stderr).toBe("");
  const { rows } = JSON.parse(replayed.stdout) as { rows: { arm: string; isOwn: boolean }[] };
  expect(rows.filter(({ isOwn }) => isOwn).map((row) => row.arm)).toEqual([
    "model",
    "options-shuffled",
  ]);
}, 60_000);

test("a control that has nothing to ask of any question is refused", () => {
  putJsonl(folder, "words.jsonl", [
    { image: "data/direct_attributes/sa_0001.jpg", question: "What?", answer: "x", kind: "text" },
  ]);
  const source = '--data.heldout=[{"file": "words.jsonl"}]';
  const { status, stderr } = vigorl("eval", source, "--eval.controls=[options-shuffled]");
  expect(stderr).toMatch(/options-shuffled asks nothing: 1 questions have no options/);
  expect(status).toBe(2);
}, 60_000);

test("mistakes name their fix before anything is loaded", async () => {
  const { stderr, status } = vigorl("eval", "--benchmark", "vstr", "--data", "data");
  expect(stderr).toMatch(/benchmark.*vstar/);
  expect(status).toBe(2);
  const recipe = (source: object) =>
    parseConfig(`data: {heldout: [${JSON.stringify(source)}]}`, "recipe", recipeSchema);
  const load = (source: object) => loadTasks(recipe(source), "heldout");
  const data = join(folder, "data");
  const source = { benchmark: "vstar", folder: data };
  await expect(load({ ...source, folder: join(folder, "none") })).rejects.toThrow(/none: no such/);
  await expect(load({ ...source, folder: join(data, "direct_attributes") })).rejects.toThrow(
    /holds no data of vstar/,
  );
  await expect(load({ ...source, protocol: "mine" })).rejects.toThrow(/no protocol mine/);
  await expect(load({ ...source, split: "train" })).rejects.toThrow(/no split train/);
  expect(() => recipe({ file: "a.jsonl", protocol: "ours" })).toThrow(/go with benchmark/);
  const train = parseConfig(`data: {train: [${JSON.stringify(source)}]}`, "recipe", recipeSchema);
  await expect(loadTasks(train, "train")).rejects.toThrow(/data.train: vstar is a benchmark/);
}, 30_000);

test("the list has a line for every benchmark", () => {
  const { text } = benchmarkList(benchmarks);
  expect(text.split("\n")).toHaveLength(benchmarks.length + 2);
  expect(text).toMatch(/^vstar +191 +accuracy.*lmms-eval.*MIT/m);
});
