/** Whether questions of an evaluation occur in what a model was trained on: for the verb, and for reports. */
import { openPlaced } from "./data/dataset.ts";
import { writeFileAtomic } from "./core/files.ts";
import { VigorlError } from "./core/errors.ts";
import { findPath } from "./core/paths.ts";
import { findLeaks, type LeakOptions, type Leaks } from "./eval/leaks/find.ts";
import { leakLines } from "./eval/leaks/table.ts";
import { loadTasks, type Recipe, type TaskSet } from "./recipe.ts";
import type { PlacedRecord } from "./task/record.ts";

/**
 * Compares the held-out questions of a recipe with datasets, or with its own training data where none is
 * named; leaves `file`.
 * @throws VigorlError("usage") where there is nothing to compare with, "input" as data are read
 */
export async function checkLeaks(
  recipe: Recipe,
  training: readonly string[],
  file: string,
  options: LeakOptions,
): Promise<Leaks> {
  const sets = await loadTasks(recipe, "heldout");
  const records =
    training.length > 0
      ? openPlaced(training.map(findPath))
      : ofSets(await loadTasks(recipe, "train"));
  const leaks = await findLeaks(sets, records, options);
  await writeLeaks(file, leaks);
  return leaks;
}

/** What a report says of the training data. */
export interface LeakNotes {
  readonly facts: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/**
 * The held-out questions against the recipe's training data, as far as `eval.leaks` says; what cannot be
 * read is said and stops nothing. Nothing is said where the recipe names no training data.
 */
export async function leakNotes(
  recipe: Recipe,
  heldout: readonly TaskSet[],
  file: string,
  signal: AbortSignal,
): Promise<LeakNotes> {
  const depth = recipe.eval.leaks;
  if (depth === "off" || recipe.data.train.length === 0) return { facts: {}, warnings: [] };
  try {
    const training = await loadTasks(recipe, "train");
    const leaks = await findLeaks(heldout, ofSets(training), { depth, signal });
    await writeLeaks(file, leaks);
    const [found, ...others] = leakLines(leaks);
    return {
      facts: { "training data": [found, ...others].join("; ") },
      warnings: leaks.leaks.length === 0 ? [] : [`Training data: ${found}`],
    };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof VigorlError)) throw error;
    return { facts: { "training data": `not compared: ${error.message}` }, warnings: [] };
  }
}

async function writeLeaks(file: string, leaks: Leaks): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify({ version: 1, ...leaks }, null, 2)}\n`);
}

async function* ofSets(sets: readonly TaskSet[]): AsyncGenerator<PlacedRecord> {
  for (const { task, records } of sets) for (const record of records) yield { record, place: task };
}
