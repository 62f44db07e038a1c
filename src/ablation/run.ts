/**
 * Runs an ablation: every arm with every seed, as far as nothing that it needs is missing, several at
 * once in processes of their own. What is finished is kept; a stopped ablation goes on where it was.
 */
import { existsSync } from "node:fs";
import { inside } from "../core/inside.ts";
import { VigorlError } from "../core/errors.ts";
import { writeFileAtomic } from "../core/files.ts";
import { Progress } from "../core/progress.ts";
import {
  createRunFolder,
  holdsRun,
  isRunFolder,
  openRunFolder,
  type RunFolder,
} from "../core/run-folder.ts";
import { oneWriter } from "../core/run-lock.ts";
import { loadRecipe, loadTasks, type Recipe } from "../recipe.ts";
import { recipeChanges } from "../resume.ts";
import {
  armOf,
  needsOf,
  overridesOf,
  startArm,
  unitsOf,
  type Ablation,
  type Unit,
} from "./ablation.ts";
import { ablationHtml, ablationMarkdown, drawAblation, type AblationHead } from "./page.ts";
import { readResults, type Results } from "./results.ts";
import { evaluationFolder, stagedArm } from "./unit.ts";

export interface AblationOptions {
  readonly ablation: Ablation;
  /** Run folder of the ablation. */
  readonly path: string;
  readonly resume: boolean;
  readonly overwrite: boolean;
  /** Units at once. */
  readonly parallel: number;
  /** Only these arms, and those that they need; default all. */
  readonly only?: readonly string[] | undefined;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
  readonly command: string;
  /** Runs one unit to its end. */
  readonly run: (unit: Unit) => Promise<void>;
}

export interface Ablated extends Results {
  readonly folder: string;
  readonly units: number;
  /** Found finished, and run now. */
  readonly skipped: number;
  readonly done: number;
}

/**
 * Runs what is missing and writes results.json, .md and .html and curves.svg into the run folder.
 * @throws VigorlError("usage") for a run of another ablation, the signal's reason when stopped, and
 *   where units failed, after all others are done
 */
export const runAblation = oneWriter(ablate);

async function ablate(options: AblationOptions): Promise<Ablated> {
  const { ablation, path, signal, quiet } = options;
  // Every key of every arm is read before the first hour is spent.
  const recipes = recipesOf(ablation);
  const tasks = (await loadTasks(recipes[startArm], "heldout")).map(({ task }) => task);
  const run = await openAblation(options, JSON.parse(JSON.stringify(recipes)) as KeptRecipes);

  const units = wanted(options);
  const finished = new Set<string>();
  for (const unit of units) if (await isFinished(ablation, path, unit)) finished.add(nameOf(unit));
  const skipped = finished.size;
  const failures = new Map<string, unknown>();
  const waiting = units.filter((unit) => !finished.has(nameOf(unit)));
  const progress = new Progress({
    label: "ablate",
    total: units.length,
    done: skipped,
    unit: "runs",
    quiet,
  });
  const running = new Map<string, Promise<void>>();
  const start = (unit: Unit): void => {
    const name = nameOf(unit);
    const began = performance.now();
    const work = options.run(unit).then(
      () => {
        finished.add(name);
        progress.note(`${name}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
        progress.update(finished.size + failures.size, { failed: failures.size });
      },
      (error: unknown) => void failures.set(name, error),
    );
    running.set(
      name,
      work.finally(() => running.delete(name)),
    );
  };
  const isReady = (unit: Unit) =>
    needsOf(ablation, unit).every((need) => finished.has(nameOf(need)));
  try {
    for (;;) {
      while (!signal.aborted && running.size < options.parallel) {
        const next = waiting.findIndex(isReady);
        if (next < 0) break;
        start(...(waiting.splice(next, 1) as [Unit]));
      }
      if (running.size === 0) break;
      await Promise.race(running.values());
    }
  } finally {
    progress.finish();
  }
  signal.throwIfAborted();

  const controlsOf = (arm: string) => recipes[arm].eval.controls;
  const results = await readResults(ablation, path, tasks, controlsOf);
  const { versions, gitCommit } = run.manifest;
  const head: AblationHead = { command: options.command, versions, gitCommit };
  await writeFileAtomic(
    inside(path, "results.json"),
    `${JSON.stringify({ ...head, ...results }, null, 1)}\n`,
  );
  const curves = await drawAblation(ablation, path);
  await writeFileAtomic(inside(path, "curves.svg"), curves);
  await writeFileAtomic(inside(path, "results.md"), ablationMarkdown(ablation, head, results));
  const page = ablationHtml(ablation, head, results, curves);
  await writeFileAtomic(inside(path, "results.html"), page);
  if (failures.size + waiting.length > 0) throw failure(failures, waiting, path);
  return {
    ...results,
    folder: path,
    units: units.length,
    skipped,
    done: finished.size - skipped,
  };
}

/** The recipe of each arm, every key filled in. @throws VigorlError("usage") naming the key of an arm */
export function recipesOf(ablation: Ablation): Record<string, Recipe> {
  const arms = [startArm, ...Object.keys(ablation.arms)];
  return Object.fromEntries(
    arms.map((arm) => {
      const unit = { arm, seed: ablation.seeds[0] };
      return [arm, loadRecipe(ablation.recipe, overridesOf(ablation, unit))];
    }),
  );
}

/** `arm@seed`, as `--unit` takes it. */
export function nameOf({ arm, seed }: Unit): string {
  return `${arm}@${seed}`;
}

/** @throws VigorlError("usage") for what is no unit of the ablation */
export function unitOf(ablation: Ablation, name: string): Unit {
  const unit = unitsOf(ablation).find((one) => nameOf(one) === name);
  if (unit !== undefined) return unit;
  throw new VigorlError("usage", `--unit ${name}: the ablation has no such run`, {
    hint: "write ARM@SEED, of the arms and seeds in the file",
  });
}

/** What the manifest keeps: the recipe of each arm, with every key filled in. */
type KeptRecipes = Readonly<Record<string, unknown>>;

async function openAblation(options: AblationOptions, recipes: KeptRecipes): Promise<RunFolder> {
  const { ablation, path, resume, overwrite, command } = options;
  const { name, seeds } = ablation;
  if (await isRunFolder(path)) {
    if (resume) {
      const run = await openRunFolder(path);
      requireSameArms(run, recipes);
      return run.withRecipe({ ...(run.manifest.recipe as KeptRecipes), ...recipes });
    }
    if (!overwrite) throw holdsRun(path);
  }
  const description = { verb: "ablate", command, name, seed: seeds[0], recipe: recipes };
  return createRunFolder(path, description, { overwrite });
}

/** Arms may be added to an ablation and taken out of it; those that it had must be what they were. */
function requireSameArms({ path, manifest }: RunFolder, recipes: KeptRecipes): void {
  if (manifest.verb !== "ablate") throw holdsRun(path);
  const before = manifest.recipe as KeptRecipes;
  const changes = Object.entries(recipes).flatMap(([arm, recipe]) => {
    if (!Object.hasOwn(before, arm)) return [];
    const was = { ...manifest, verb: "eval", recipe: before[arm] };
    return recipeChanges(was, recipe).map((change) => `${arm}: ${change}`);
  });
  if (changes.length > 0)
    throw new VigorlError(
      "usage",
      `${path}: arms are no longer what they were:\n  ${changes.join("\n  ")}`,
      {
        hint: "give a changed arm another name, or start again with --overwrite",
      },
    );
}

function wanted({ ablation, only }: AblationOptions): Unit[] {
  const units = unitsOf(ablation);
  if (only === undefined) return units;
  const names = new Set<string>();
  const add = (name: string): void => {
    const arm = armOf(ablation, name);
    names.add(name);
    for (const need of [arm?.from, arm?.chains]) if (need !== undefined) add(need);
  };
  for (const name of only) add(name);
  return units.filter(({ arm }) => names.has(arm));
}

async function isFinished(ablation: Ablation, run: string, unit: Unit): Promise<boolean> {
  if (armOf(ablation, unit.arm)?.do === "search") return (await stagedArm(run, unit)) !== null;
  return existsSync(inside(evaluationFolder(run, unit), "report.json"));
}

function failure(
  failures: ReadonlyMap<string, unknown>,
  waiting: readonly Unit[],
  path: string,
): VigorlError {
  const lines = [...failures].map(
    ([name, error]) => `  ${name}: ${error instanceof Error ? error.message : String(error)}`,
  );
  const left =
    waiting.length === 0
      ? ""
      : `\n  not run, since others failed: ${waiting.map(nameOf).join(", ")}`;
  return new VigorlError(
    "input",
    `ablate: ${failures.size} runs failed\n${lines.join("\n")}${left}`,
    { hint: `mend the cause and go on with --resume; what was finished is in ${path}/results.md` },
  );
}
