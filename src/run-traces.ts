/**
 * The traces of a run, group by group: arms of an evaluation, steps of training. They are streamed, so
 * that any number may be there, and a run that is still being written can be read, too.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readJsonl } from "./core/jsonl.ts";
import { openRunFolder, type RunFolder } from "./core/run-folder.ts";
import { planEngine, type EnginePlan } from "./engine-plan.ts";
import { processorFolder, withModelFolders, type EngineConfig } from "./engine/open.ts";
import { armFolder, readArm } from "./eval/arm-files.ts";
import { isUnanswered } from "./eval/outcome.ts";
import { recipeOfManifest, type Recipe } from "./recipe.ts";
import { finishedArms, groupOfRun, mainArm, type GroupOfRun } from "./replay.ts";
import { traceSchema, type Trace } from "./task/trace.ts";

/** A run, as it was named, with what is known of it. */
export interface TracedRun extends GroupOfRun {
  readonly run: RunFolder;
  readonly recipe: Recipe;
  /** Finished arms of its evaluation, and the one that it is about. */
  readonly arms: readonly { readonly task: string; readonly arm: string }[];
  readonly main: string | undefined;
}

export interface RunTrace {
  readonly task: string;
  readonly group: string;
  /** Which questions of the recipe it was asked. */
  readonly split: "train" | "heldout";
  /** Where its pictures lie. */
  readonly folder: string;
  readonly trace: Trace;
  /** The verdict of its evaluation; null in training, where its reward says what it is worth. */
  readonly score: number | null;
}

/** Opens a run as it is named on the command line: `runs/a`, or `runs/a:group`. */
export async function openTraced(text: string): Promise<TracedRun> {
  const { path, group, label } = groupOfRun(text);
  const run = await openRunFolder(path);
  const recipe = recipeOfManifest(join(path, "manifest.json"), run.manifest, []);
  const arms = await finishedArms(path);
  const main = arms.length === 0 ? undefined : mainArm(run, arms);
  return { path, group, label, run, recipe, arms, main };
}

export interface TraceListeners {
  readonly signal: AbortSignal;
  /** Asked once or more for every group that is there. */
  readonly isWanted: (group: string) => boolean;
  /** Questions that an arm was asked, and answered in whatever way. */
  readonly onArm?: (task: string, group: string, asked: number) => void;
}

/** The traces of the wanted groups; those of questions that could not be asked are left out. */
export async function* tracesOfRun(
  { path, arms }: TracedRun,
  { signal, isWanted, onArm }: TraceListeners,
): AsyncGenerator<RunTrace> {
  for (const { task, arm: group } of arms.filter(({ arm }) => isWanted(arm))) {
    const folder = armFolder(path, task, group);
    const { outcomes } = await readArm(path, task, group);
    const asked = outcomes.filter((one) => (one.sample ?? 0) === 0 && !isUnanswered(one));
    const scores = new Map(asked.map(({ recordId, score }) => [recordId, score]));
    onArm?.(task, group, asked.length);
    for await (const trace of tracesIn(folder, signal)) {
      const score = scores.get(trace.recordId) ?? null;
      yield { task, group, split: "heldout", folder, trace, score };
    }
  }
  for await (const trace of tracesIn(path, signal)) {
    const group = trace.step === undefined ? "traces" : `step-${trace.step}`;
    const task = trace.task ?? "train";
    if (isWanted(group)) yield { task, group, split: "train", folder: path, trace, score: null };
  }
}

async function* tracesIn(folder: string, signal: AbortSignal): AsyncGenerator<Trace> {
  const file = join(folder, "traces.jsonl");
  if (!existsSync(file)) return;
  for await (const trace of readJsonl(file, traceSchema, { allowTornLastLine: true })) {
    signal.throwIfAborted();
    if (!isUnanswered(trace)) yield trace;
  }
}

/** A model that is asked about a run's traces, in words. @throws as `planEngine` */
export async function planAsked(
  recipe: Recipe,
  engine: EngineConfig,
  signal: AbortSignal,
): Promise<EnginePlan> {
  const fallback = processorFolder(await withModelFolders(recipe.engine));
  const needs = { purpose: "--judge", capabilities: [] };
  return planEngine(recipe, engine, needs, { signal }, fallback);
}
