/** Imports between rooms go one way: a room may import itself and the rooms before it in this list. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

// prettier-ignore
const rooms = [
  "core", "torch", "image", "text", "model", "engine", "task", "data", "search", "train", "eval",
  "nano", "serve", "studio", "recipe-profiles.ts", "recipe.ts", "recipe-schema.ts", "run-inputs.ts", "leaks.ts",
  "card-of-run.ts", "engine-memory.ts", "engine-plan.ts", "run-weights.ts", "resume.ts",
  "folder-recipe.ts", "recipe-of-model.ts", "stages", "pieces.ts", "pipeline-clock.ts", "pipeline.ts", "ablation",
  "trial.ts",
  "forecast.ts", "replay.ts", "run-traces.ts", "behaviours.ts", "study.ts", "ask.ts", "entry",
  "index.ts", "cli", "cli.ts",
];

const source = resolve(import.meta.dirname, "../src");
const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter(
    (file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !file.includes("fixtures"),
  )
  .map((file) => join(source, file));

const roomOf = (file: string) => relative(source, file).split("/")[0];

/** Relative files that a module imports, re-exports, imports lazily, or starts as a worker. */
function imports(file: string): string[] {
  const text = readFileSync(file, "utf8");
  const specifiers = text.matchAll(/(?:from|import|import\(|new URL\()\s*"(\.{1,2}\/[^"]+)"/g);
  const workers = text.matchAll(/startWorker\("([^"]+)"/g);
  return [
    ...[...specifiers].map((match) => resolve(dirname(file), match[1])),
    ...[...workers].map((match) => join(source, `${match[1]}.ts`)),
  ];
}

test("every file of src/ belongs to a known room", () => {
  expect(files.map(roomOf).filter((room) => !rooms.includes(room))).toEqual([]);
});

test("imports between rooms go one way", () => {
  const wrong = files.flatMap((file) =>
    imports(file)
      .filter((target) => target.startsWith(`${source}/`))
      .filter((target) => rooms.indexOf(roomOf(target)) > rooms.indexOf(roomOf(file)))
      .map((target) => `${relative(source, file)} imports ${relative(source, target)}`),
  );
  expect(wrong).toEqual([]);
});
