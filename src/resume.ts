/** Going on with a run: which keys of its recipe may be other than they were. */
import { resolve } from "node:path";
import { withPathsOf } from "./core/config-paths.ts";
import { differencesOf } from "./core/differences.ts";
import { VigorlError } from "./core/errors.ts";
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
  ...["sft", "rl"].flatMap((verb) =>
    ["checkpointEvery", "keepCheckpoints", "validate"].map((key) => `${verb}.${key}`),
  ),
  "sft.epochs",
  ...["steps", "tracesEvery", "tracesPerStep", "concurrency", "maxIdleSteps", "alarms"].map(
    (key) => `rl.${key}`,
  ),
  "rl.reward.server",
  "search.run",
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
  const told = differencesOf(normalised(recipe, cwd), normalised(now, undefined));
  const own = verb === "eval" || verb === "demo" ? ["eval", "demo"] : [];
  const free = ["eval.maxFailed", ...mayChange.filter((key) => !own.includes(key))];
  return told.filter((line) => {
    const [key] = line.split(" ", 1);
    if (hashed.some((pattern) => pattern.test(key))) return false;
    return !free.some((allowed) => key === allowed || key.startsWith(`${allowed}.`));
  });
}

/** The recipe as it was written, its paths too, with the keys that may change as they are now. */
export function recipeToKeep({ recipe }: Manifest, now: unknown): unknown {
  const kept = structuredClone(recipe);
  for (const key of ["eval.maxFailed", ...mayChange]) copyKey(key.split("."), now, kept);
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

/** @throws VigorlError("usage") naming what is not as it was */
export function refuseRecipe(path: string, changes: readonly string[]): never {
  const shown = changes.slice(0, 8).map((change) => `\n  ${change}`);
  const more = changes.length > shown.length ? `\n  and ${changes.length - shown.length} more` : "";
  throw new VigorlError(
    "usage",
    `${path}: was started with another recipe:${changes.length === 1 ? ` ${changes[0]}` : `${shown.join("")}${more}`}`,
    {
      hint: `./vigorl resume ${path} goes on with its own; or start again with --overwrite`,
    },
  );
}
