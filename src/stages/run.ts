/**
 * The run folder of a stage: looked at before anything is loaded, then opened anew or to be gone on with,
 * and only on the inputs that it began with.
 */
import { isDeepStrictEqual } from "node:util";
import { refuseRecipe } from "../core/differences.ts";
import type { RunLock } from "../core/run-lock.ts";
import {
  createRunFolder,
  holdsRun,
  isRunFolder,
  openRunFolder,
  RunFolder,
} from "../core/run-folder.ts";
import type { EnginePlan } from "../engine-plan.ts";
import { adapterFolder, engineVersions } from "../engine/open.ts";
import type { Recipe, TaskSet } from "../recipe.ts";
import { changedInputs, changesOf, inputHashes } from "../run-inputs.ts";
import { recipeChanges, recipeToKeep } from "../resume.ts";
import { forgetWeights } from "../run-weights.ts";
import type { StageOptions } from "./stage.ts";

/**
 * Looks at the place of a run before anything is loaded: the run to go on with, or null for a new one.
 * @throws VigorlError("usage") where a run is there and is not to be resumed or overwritten, or was
 *   started with another recipe
 */
export async function checkRun({
  path,
  recipe,
  resume,
  overwrite,
}: Omit<StageOptions, "signal" | "quiet">): Promise<RunFolder | null> {
  if (!(await isRunFolder(path))) return null;
  if (!resume) {
    if (!overwrite) throw holdsRun(path);
    return null;
  }
  const run = await openRunFolder(path);
  const changes = recipeChanges(run.manifest, asJson(recipe));
  if (changes.length > 0) refuseRecipe(path, changes);
  return run;
}

/** What a run is made from, and the run to go on with, null for a new one. */
interface Inputs {
  readonly stopped: RunFolder | null;
  readonly dataHashes: Readonly<Record<string, string>>;
  /** How they differ from those that the run began with, where that was allowed. */
  readonly changes: readonly string[];
}

/**
 * Looks at everything that a run is made from, before weights are loaded.
 * @throws VigorlError("usage") as `checkRun`, and where a run to be resumed began with other inputs
 */
export async function checkInputs(
  options: Omit<StageOptions, "signal" | "quiet">,
  { folder: model, engine }: Pick<EnginePlan, "folder" | "engine">,
  tasks: readonly TaskSet[],
): Promise<Inputs> {
  const { path, recipe } = options;
  const stopped = await checkRun(options);
  const dataHashes = await inputHashes(recipe, { model, adapter: adapterFolder(engine) }, tasks);
  const changes = stopped === null ? [] : changesOf(stopped.manifest.dataHashes, dataHashes);
  if (changes.length > 0 && options.changedInputs !== true) throw changedInputs(path, changes);
  return { stopped, dataHashes, changes };
}

/** Opens a stage's run folder: a new one, or with `resume` the one that was stopped. */
export async function openRun(
  { path, recipe, overwrite, lock, command, notes }: Omit<StageOptions, "signal" | "quiet">,
  verb: string,
  { engine, episode }: Pick<EnginePlan, "engine" | "episode">,
  { stopped, dataHashes, changes }: Inputs,
): Promise<{ run: RunFolder; resume: boolean }> {
  if (stopped !== null) {
    await stopped.removeUnfinished();
    let run = changes.length === 0 ? stopped : await stopped.withInputs(dataHashes, changes);
    const kept = recipeToKeep(run.manifest, asJson(recipe));
    if (!isDeepStrictEqual(run.manifest.recipe, kept)) run = await run.withRecipe(kept);
    await forgetWeights(run);
    return { run: writable(run, recipe, lock), resume: true };
  }
  const { name, seed } = recipe;
  const versions = await engineVersions(engine);
  // Episodes grow turn by turn, whatever the template would make of them anew: tokens are the record.
  const chat = episode.chat.rewritesHistory ? ({ history: "grown" } as const) : undefined;
  const made = { verb, command, name, seed, chat };
  const run = await createRunFolder(
    path,
    { ...made, recipe: asJson(recipe), notes, engine, versions, dataHashes },
    { overwrite },
  );
  return { run: writable(run, recipe, lock), resume: false };
}

/** A run that logs to the recipe's sinks and notices when another takes its lock. */
function writable({ path, manifest }: RunFolder, { log }: Recipe, lock?: RunLock): RunFolder {
  const run = new RunFolder(path, manifest, lock);
  run.logTo(log);
  return run;
}

/** A value as it comes back from a JSON file. */
function asJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
