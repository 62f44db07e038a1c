/** What `sft` and `rl` have in common as stages: validation, curves, progress, and the weights of the run. */
import { cardOfRun } from "../card-of-run.ts";
import { Progress } from "../core/progress.ts";
import { RunFolder } from "../core/run-folder.ts";
import type { EnginePlan } from "../engine-plan.ts";
import { loadValidation, type Recipe, type TaskSet } from "../recipe.ts";
import { recordWeights } from "../run-weights.ts";
import { cardFile } from "../task/model-card.ts";
import type { LoopResult } from "../train/loop.ts";
import type { AlarmConfig } from "../train/collapse.ts";
import { drawCurves } from "../train/draw-curves.ts";
import type { Metrics } from "../train/metrics.ts";
import type { Validation } from "../train/validation.ts";
import type { Staged, StageOptions } from "./stage.ts";

/** What training leaves. */
export interface Trained extends Staged {
  readonly steps: number;
  /** Its validations got no better. */
  readonly isStoppedEarly: boolean;
}

/** What every checkpoint of a run holds beside its weights: what the model is for. */
export async function cardFiles(
  verb: "sft" | "rl",
  recipe: Recipe,
  tasks: readonly TaskSet[],
  { folder }: EnginePlan,
): Promise<Record<string, string>> {
  const card = await cardOfRun(verb, recipe, tasks, folder);
  return { [cardFile]: `${JSON.stringify(card, null, 1)}\n` };
}

/** What training is validated on; nothing where the recipe does not ask for it. */
export async function validationTasks(recipe: Recipe, verb: "sft" | "rl"): Promise<TaskSet[]> {
  return recipe[verb].validate.every === null ? [] : loadValidation(recipe);
}

export function validationOf(
  recipe: Recipe,
  verb: "sft" | "rl",
  { episode }: EnginePlan,
  heldout: readonly TaskSet[],
): { validation?: Validation } {
  const { validate: config } = recipe[verb];
  if (config.every === null) return {};
  const records = heldout.flatMap((set) => [...set.records]);
  const { seed } = recipe;
  return { validation: { records, episode, reward: recipe.rl.reward, config, seed } };
}

/** Trains, and leaves the curves of what was done, however that ends. */
export async function drawn<T extends LoopResult>(
  run: RunFolder,
  work: () => Promise<T>,
  alarms?: AlarmConfig,
): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    // The failure itself is what is told.
    await drawCurves(run, alarms).catch(() => undefined);
    throw error;
  }
  await drawCurves(run, alarms);
  return result;
}

export async function withProgress<T>(
  label: string,
  total: number,
  { quiet, watch }: Pick<StageOptions, "quiet" | "watch">,
  work: (onStep: (metrics: Metrics) => void) => Promise<T>,
): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await work((metrics) => {
      progress ??= new Progress({ label, total, done: metrics.step, quiet });
      progress.update(metrics.step, figuresOf(metrics));
      watch?.step?.(metrics);
    });
  } finally {
    progress?.finish();
  }
}

/** The figures of a step that a progress line has room for. */
function figuresOf(metrics: Metrics): Record<string, number> {
  const names = {
    reward: metrics.reward,
    accuracy: metrics.accuracy,
    "held out": metrics["validation/accuracy"],
    "tool uses": metrics.toolUsesPerEpisode,
    loss: metrics.reward === undefined ? metrics.loss : undefined,
    "tokens/s": metrics["tokensPerSecond/sample"] ?? metrics["tokensPerSecond/learn"],
  };
  return Object.fromEntries(
    Object.entries(names).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}

/** The weights that a run is for are those of its best validation, else the last. */
export async function trained(
  run: RunFolder,
  result: LoopResult,
  start: number,
  notes: Staged["notes"],
): Promise<Trained> {
  const { step: steps, best, isStoppedEarly } = result;
  const { folder, weights } = best ?? result;
  await recordWeights(run, folder);
  const seconds = (performance.now() - start) / 1000;
  const found: Record<string, number> =
    best === null ? {} : { bestStep: best.step, bestAccuracy: best.accuracy };
  const kept = weights === folder ? {} : { weights };
  return { folder, ...kept, steps, seconds, isStoppedEarly, notes: { steps, ...notes, ...found } };
}
