/** Training data against an evaluation: for a report, and as a verb with its exit code. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseConfig } from "../src/core/config.ts";
import { png } from "../src/eval/benchmarks/fixtures/published.ts";
import { checkLeaks, leakNotes } from "../src/leaks.ts";
import { loadTasks, recipeSchema } from "../src/recipe.ts";

const root = resolve(import.meta.dirname, "..");
const { signal } = new AbortController();
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-leaks-"));
  writeFileSync(join(folder, "a.png"), await png(40, 30));
  writeFileSync(join(folder, "b.png"), await png(52, 36));
  const line = (id: string, image: string, question: string) =>
    `${JSON.stringify({ id, image, question, answer: "red", kind: "text" })}\n`;
  writeFileSync(join(folder, "held.jsonl"), line("h", "a.png", "Which colour has the roof?"));
  writeFileSync(join(folder, "leaky.jsonl"), line("t", "a.png", "Which colour has the ROOF"));
  writeFileSync(join(folder, "clean.jsonl"), line("t", "b.png", "Who sits on the bench?"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const recipeOf = (train: string | null, leaks = "files") =>
  parseConfig(
    JSON.stringify({
      data: {
        heldout: [{ file: join(folder, "held.jsonl") }],
        train: train === null ? [] : [{ file: join(folder, train) }],
      },
      eval: { leaks },
    }),
    "recipe",
    recipeSchema,
  );
const notes = async (train: string | null, leaks?: string) => {
  const recipe = recipeOf(train, leaks);
  const file = join(folder, "leaks.json");
  return leakNotes(recipe, await loadTasks(recipe, "heldout"), file, signal);
};

test("a report says what of its questions the model was trained on, and warns", async () => {
  const leaky = await notes("leaky.jsonl");
  expect(leaky.warnings).toEqual([expect.stringMatching(/1 occur in it, 1 by picture and words/)]);
  expect(JSON.parse(readFileSync(join(folder, "leaks.json"), "utf8"))).toMatchObject({
    version: 1,
    leaks: [{ task: "held", id: "h", what: "question", picture: { how: "file" } }],
  });
  const clean = await notes("clean.jsonl", "pixels");
  expect(clean.warnings).toEqual([]);
  expect(clean.facts["training data"]).toMatch(/none occurs in it/);
});

test("training data that are not there stop no evaluation, and are told", async () => {
  const gone = await notes("gone.jsonl");
  expect(gone).toMatchObject({ warnings: [] });
  expect(gone.facts["training data"]).toMatch(/^not compared: .*gone\.jsonl/);
  expect(await notes("leaky.jsonl", "off")).toEqual({ facts: {}, warnings: [] });
  expect(await notes(null)).toEqual({ facts: {}, warnings: [] });
});

test("without training data there is nothing to compare", async () => {
  const file = join(folder, "none.json");
  const options = { depth: "pixels", signal } as const;
  await expect(checkLeaks(recipeOf(null), [], file, options)).rejects.toThrow(
    /data\.train is empty/,
  );
  expect(existsSync(file)).toBe(false);
});

test("the verb leaves a file, and ends with 3 where something leaks", () => {
  const held = '--data.heldout=[{"file": "held.jsonl"}]';
  const args = ["src/cli.ts", "eval", held, "--leaks", "clean.jsonl", "leaky.jsonl", "--json"];
  const loader = `file://${root}/node_modules/tsx/dist/loader.mjs`;
  const [script, ...rest] = args;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", loader, join(root, script), ...rest],
    { cwd: folder, encoding: "utf8", env: { ...process.env, OMP_NUM_THREADS: "1" } },
  );
  expect(stderr).toBe("");
  const found = JSON.parse(stdout) as { trained: number; file: string; leaks: object[] };
  expect(found).toMatchObject({ trained: 2, leaks: [{ partner: { place: "leaky.jsonl:1" } }] });
  expect(existsSync(join(folder, found.file))).toBe(true);
  expect(status).toBe(3);
}, 120_000);
