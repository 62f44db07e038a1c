/** Going on with a run: which keys of its recipe may be other than they were. */
import { resolve } from "node:path";
import { withPathsOf } from "./core/config-paths.ts";
import { differencesBut } from "./core/differences.ts";
import { isSection } from "./core/preset.ts";
import type { Manifest } from "./core/run-folder.ts";
import { recipeSchema } from "./recipe.ts";

/** Keys that change how long and where a run computes, what it keeps and what it shows, not what it learns. */
const mayChange = [
  "name",
  "log",
  "eval",
  "demo",
  "engine.device",
  "engine.threads",
  "engine.slots",
  "engine.samplers",
  "engine.memory",
  "engine.concurrency",
  "engine.timeoutSeconds",
  "engine.retries",
  "engine.retryDelaySeconds",
  "engine.price",
  ...["sft", "rl"].flatMap((verb) =>
    ["checkpointEvery", "keepCheckpoints", "validate"].map((key) => `${verb}.${key}`),
  ),
  "sft.epochs",
  ...["steps", "tracesEvery", "tracesPerStep", "concurrency", "maxIdleSteps", "alarms"].map(
    (key) => `rl.${key}`,
  ),
  "rl.reward.server",
  ...["records", "trees", "treeTimeoutSeconds", "compare"].map((key) => `search.run.${key}`),
];

/** Keys whose files are held to their hashes, wherever they lie. */
const hashed = [
  /^engine\.(model|folder)$/,
  /^data\.\w+\.\d+\.(file|images|module|folder)$/,
  /^sft\.chains\.from$/,
  /^rl\.reward\.module$/,
  /^judge\.module$/,
  /^tools\.modules\./,
];

/**
 * What of a recipe is no longer as a run was started with, in words; keys that may change are left out
 * for `verb`, for which those of evaluation count where it is one.
 */
export function recipeChanges({ verb, recipe, cwd }: Manifest, now: unknown): string[] {
  const own = verb === "eval" || verb === "demo" ? ["eval", "demo"] : [];
  const free = ["eval.maxFailed", "eval.leaks", ...mayChange.filter((key) => !own.includes(key))];
  const told = differencesBut(free, normalised(written(recipe), cwd), normalised(now, undefined));
  return told.filter((line) => !hashed.some((pattern) => pattern.test(line.split(" ", 1)[0])));
}

/** With the defaults of keys that are newer than the run. */
function written(recipe: unknown): unknown {
  const parsed = recipeSchema.safeParse(recipe);
  return parsed.success ? (JSON.parse(JSON.stringify(parsed.data)) as unknown) : recipe;
}

/** The recipe as it was written, its paths too, with the keys that may change as they are now. */
export function recipeToKeep({ recipe }: Manifest, now: unknown): unknown {
  const kept = structuredClone(recipe);
  for (const key of ["eval.maxFailed", "eval.leaks", ...mayChange])
    copyKey(key.split("."), now, kept);
  return kept;
}

function copyKey([key, ...rest]: readonly string[], from: unknown, to: unknown): void {
  if (!isSection(from) || !isSection(to) || !Object.hasOwn(from, key)) return;
  if (rest.length > 0) copyKey(rest, from[key], to[key]);
  else (to as Record<string, unknown>)[key] = from[key];
}

/** With absolute paths, and lists told entry by entry. */
function normalised(recipe: unknown, cwd: string | undefined): unknown {
  return asRecords(
    withPathsOf(cwd ?? ".", recipe, recipeSchema, (_, path) => resolve(cwd ?? ".", path)),
  );
}

function asRecords(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, entry]) => [key, asRecords(entry)]);
  return Object.fromEntries(entries) as object;
}
