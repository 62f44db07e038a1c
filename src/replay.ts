/**
 * What can be done with evaluations that are finished, without a model: their replies scored by other
 * rules, and two of them compared.
 */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { parseConfig } from "./core/config.ts";
import { VigorlError } from "./core/errors.ts";
import { writeFileAtomic } from "./core/files.ts";
import { inside } from "./core/inside.ts";
import { findPath } from "./core/paths.ts";
import { openRunFolder, type RunFolder } from "./core/run-folder.ts";
import { oneWriter } from "./core/run-lock.ts";
import { isArmDone, readArm, readArmFacts, readOutcomes } from "./eval/arm-files.ts";
import { askedUnder, conditionOf } from "./eval/controls.ts";
import { compareOutcomes, type PairedArms } from "./eval/compare-runs.ts";
import type { Spent } from "./eval/spent.ts";
import { replayArm, replayMarkdown, type ReplayRow } from "./eval/replay.ts";
import { loadTasks, recipeSchema, type Recipe, type TaskSet } from "./recipe.ts";
import { changesOf, inputHashes } from "./run-inputs.ts";

/**
 * Scores the replies of a run by every rule that its questions have; leaves replay.json and replay.md
 * in its folder.
 * @throws VigorlError("usage") for a folder without finished arms, or whose questions have changed
 */
export async function replayRun(path: string): Promise<{ rows: ReplayRow[]; page: string }> {
  return replayIn({ path: findPath(path) });
}

const replayIn = oneWriter(async ({ path }: { readonly path: string }) => {
  const run = await openRunFolder(path);
  const source = `${path}/manifest.json`;
  const recipe = parseConfig(JSON.stringify(run.manifest.recipe), source, recipeSchema);
  const arms = await armsOf(path);
  const sets = await questionsOf(run, recipe, "heldout");
  const rows: ReplayRow[] = [];
  for (const { task, arm } of arms) {
    const set = sets.find((one) => one.task === task);
    if (set === undefined) continue;
    const { rule, condition } = await readArmFacts(path, task, arm);
    const benchmark = set.benchmark?.benchmark ?? null;
    const { records } = askedUnder(
      conditionOf(condition, `${path}: ${task} ${arm}`),
      set.records,
      recipe.seed,
    );
    const outcomes = () => readOutcomes(path, task, arm);
    rows.push(...(await replayArm({ task, arm, records, outcomes, own: rule, benchmark })));
  }
  if (rows.length === 0)
    throw new VigorlError("usage", `${path}: no arm of it answers the recipe's questions`);
  const page = run.file("replay.md");
  await writeFileAtomic(
    run.file("replay.json"),
    `${JSON.stringify({ version: 1, rows }, null, 2)}\n`,
  );
  await writeFileAtomic(page, replayMarkdown(run.manifest.name, rows));
  return { rows, page };
});

/** The questions that a run was asked. @throws VigorlError("usage") where they have changed since */
export async function questionsOf(
  { path, manifest }: RunFolder,
  recipe: Recipe,
  split: "train" | "heldout",
): Promise<TaskSet[]> {
  const sets = await loadTasks(recipe, split);
  refuseChanges(path, manifest.dataHashes, await inputHashes(recipe, {}, sets));
  return sets;
}

/** What else a run read does not matter. */
function refuseChanges(
  path: string,
  before: Readonly<Record<string, string>>,
  now: Readonly<Record<string, string>>,
): void {
  const known = Object.entries(before).filter(([name]) => Object.hasOwn(now, name));
  const changes = changesOf(Object.fromEntries(known), now);
  if (changes.length === 0) return;
  throw new VigorlError(
    "usage",
    `${path}: its questions are not those it asked: ${changes.join(", ")}`,
    { hint: "put the files back" },
  );
}

/** A run and one of its arms, as `runs/a` or `runs/a:arm`. */
interface ArmOfRun {
  readonly path: string;
  readonly arm: string;
  readonly label: string;
}

/** Two arms, and what each took; null where a run did not count it. */
export interface ComparedArms extends PairedArms {
  readonly spent: readonly [ours: Spent | null, theirs: Spent | null];
}

/**
 * Compares the arms of two runs, or two arms of one, task by task.
 * @throws VigorlError("usage") where a run has no such arm, or their questions differ
 */
export async function compareRuns(
  ours: string,
  theirs: string,
): Promise<{ names: readonly [string, string]; compared: ComparedArms[] }> {
  const [a, b] = [await armOfRun(ours), await armOfRun(theirs)];
  const shared = (await armsOf(a.path)).filter(
    ({ task, arm }) => arm === a.arm && isArmDone(b.path, task, b.arm),
  );
  if (shared.length === 0)
    throw new VigorlError("usage", `${a.label} and ${b.label} have no task in common`, {
      hint: `${a.label} answers ${await tasksOf(a)}; ${b.label} answers ${await tasksOf(b)}`,
    });
  const compared: ComparedArms[] = [];
  for (const { task } of shared) {
    const facts = [
      await readArmFacts(a.path, task, a.arm),
      await readArmFacts(b.path, task, b.arm),
    ];
    if (facts[0].questionsHash !== facts[1].questionsHash)
      throw new VigorlError(
        "usage",
        `${task}: ${a.label} and ${b.label} were asked different questions`,
        {
          hint: `${facts[0].outcomes} and ${facts[1].outcomes} outcomes; evaluate both on the same data, split, count and seed`,
        },
      );
    const [one, other] = await Promise.all([
      readArm(a.path, task, a.arm),
      readArm(b.path, task, b.arm),
    ]);
    const pair = compareOutcomes(task, one.outcomes, other.outcomes);
    const spent = [facts[0].spent ?? null, facts[1].spent ?? null] as const;
    if (pair !== null) compared.push({ ...pair, spent });
  }
  if (compared.length === 0)
    throw new VigorlError("input", `${a.label} and ${b.label}: no question was answered by both`);
  return { names: [a.label, b.label], compared };
}

/** The arm that is named behind a colon, or else the one that the run is about. */
async function armOfRun(text: string): Promise<ArmOfRun> {
  const { path, group, label } = groupOfRun(text);
  const run = await openRunFolder(path);
  const found = await armsOf(path);
  const arm = group ?? mainArm(run, found);
  if (found.some((one) => one.arm === arm)) return { path, arm: arm ?? "", label };
  const arms = [...new Set(found.map((one) => one.arm))];
  throw new VigorlError("usage", `${path} has no arm ${arm}`, {
    hint: `it has ${arms.join(", ")}; name one as ${path}:${arms[0]}`,
  });
}

/** A run as it is named on the command line, and what of it is meant: `runs/a`, or `runs/a:arm`. */
export interface GroupOfRun {
  readonly path: string;
  readonly group: string | null;
  readonly label: string;
}

export function groupOfRun(text: string): GroupOfRun {
  const colon = text.lastIndexOf(":");
  const isNamed = !existsSync(text) && colon > 0;
  const path = findPath(isNamed ? text.slice(0, colon) : text);
  return { path, group: isNamed ? text.slice(colon + 1) : null, label: text };
}

/** The arm that an evaluation is about, among those that are finished. */
export function mainArm(
  { manifest }: RunFolder,
  finished: readonly { readonly arm: string }[],
): string | undefined {
  const recipe = manifest.recipe as { readonly demo?: { readonly main?: string } };
  return finished.some(({ arm }) => arm === "model")
    ? "model"
    : (recipe.demo?.main ?? finished[0]?.arm);
}

async function tasksOf({ path, arm }: ArmOfRun): Promise<string> {
  const tasks = (await armsOf(path)).filter((one) => one.arm === arm).map(({ task }) => task);
  return tasks.join(", ");
}

/** As `finishedArms`. @throws VigorlError("usage") where there are none */
async function armsOf(path: string): Promise<{ task: string; arm: string }[]> {
  const found = await finishedArms(path);
  if (found.length > 0) return found;
  throw new VigorlError("usage", `${path}: holds no finished evaluation`, {
    hint: "name a run of eval or demo; --resume finishes one that was stopped",
  });
}

/** Finished arms of a run. */
export async function finishedArms(path: string): Promise<{ task: string; arm: string }[]> {
  const folder = inside(path, "eval");
  const found: { task: string; arm: string }[] = [];
  for (const task of await namesIn(folder))
    for (const arm of await namesIn(join(folder, task)))
      if (isArmDone(path, task, arm)) found.push({ task, arm });
  return found;
}

async function namesIn(folder: string): Promise<string[]> {
  if (!existsSync(folder)) return [];
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
}
