/**
 * What `sft` and `rl` share: steps that can be killed, interrupted and resumed. A step is a pure
 * function of the seed, its number and the weights before it, so that a resumed run ends with the
 * same bytes as one that was never stopped.
 */
import { VigorlError } from "../core/errors.ts";
import type { RunFolder } from "../core/run-folder.ts";
import type { Learner } from "../engine/types.ts";
import {
  loadCheckpoint,
  newestCheckpoint,
  removeOlder,
  saveCheckpoint,
  weightsOf,
} from "./checkpoint.ts";
import type { Metrics } from "./metrics.ts";
import { better, loggedBest, validate, type Best, type Validation } from "./validation.ts";

export interface LoopOptions {
  readonly verb: "sft" | "rl";
  readonly learner: Learner;
  readonly run: RunFolder;
  readonly totalSteps: number;
  readonly checkpointEvery: number;
  readonly keepCheckpoints: number;
  /** Go on from the newest checkpoint of the run; from the start where it has none. */
  readonly resume?: boolean;
  /** Ends the run after saving a checkpoint. */
  readonly signal?: AbortSignal;
  /** Texts by name, written into every checkpoint. */
  readonly files?: Readonly<Record<string, string>>;
  /** Questions that the weights are tried on every so many steps. */
  readonly validation?: Validation;
  /** Called with each new line of metrics.jsonl. */
  readonly onStep?: (metrics: Metrics) => void;
}

export interface StepResult {
  readonly metrics: Metrics;
  /** Optimizer steps that this step took. */
  readonly updates: number;
}

export interface LoopResult {
  /** Steps done. */
  readonly step: number;
  /** Optimizer steps done. */
  readonly updates: number;
  /** The last checkpoint. */
  readonly folder: string;
  /** What its weights can be loaded from: that folder, or the handle of the engine that keeps them. */
  readonly weights: string;
  /** Of the best validation, with its checkpoint; null where there was none. */
  readonly best: (Best & { readonly folder: string; readonly weights: string }) | null;
  /** The validations said that going on is no use. */
  readonly isStoppedEarly: boolean;
  /** Of the last step; undefined where a resumed run had nothing left to do. */
  readonly metrics: Metrics | undefined;
}

/**
 * Runs `oneStep(step, updates)` for each step from 1, `updates` being the optimizer steps before
 * it. The checkpoint of the best validation stays beside the newest ones. An aborted `signal` is honoured between steps, and within a step where `oneStep` throws its
 * reason, which it may do only before it has changed the weights.
 * Throws VigorlError("interrupted") after saving.
 */
export async function runSteps(
  options: LoopOptions,
  oneStep: (step: number, updates: number) => Promise<StepResult>,
): Promise<LoopResult> {
  const { learner, run, verb, totalSteps, keepCheckpoints, signal, validation } = options;
  let { step, updates, best } = await startOf(options);
  let savedAt = step;
  let metrics: Metrics | undefined;

  const save = async (): Promise<void> => {
    if (savedAt === step && step > 0) return;
    const state = { verb, step, updates, logs: await run.numLines() };
    const { files } = options;
    await saveCheckpoint(run.checkpointsPath, learner, state, keepCheckpoints, best?.step, files);
    savedAt = step;
  };
  const isOver = () => best !== null && best.numSince >= (validation?.config.stopAfter ?? Infinity);

  while (step < totalSteps && !isOver()) {
    let result: StepResult;
    try {
      signal?.throwIfAborted();
      result = await oneStep(step + 1, updates);
    } catch (error) {
      if (signal?.aborted !== true || error !== signal.reason) throw error;
      await save();
      throw new VigorlError("interrupted", `${run.path}: stopped after step ${step}, saved`, {
        hint: "go on with --resume",
        cause: error,
      });
    }
    step++;
    updates += result.updates;
    metrics = result.metrics;
    if (isValidated(step, totalSteps, validation)) {
      const figures = await validate(learner, validation!);
      metrics = { ...metrics, ...figures };
      best = better(best, step, figures["validation/accuracy"] ?? 0);
    }
    await run.appendMetrics(metrics);
    options.onStep?.(metrics);
    if (step % options.checkpointEvery === 0 || best?.step === step) await save();
  }
  await save();
  const folderOf = (of: number) => `${run.checkpointsPath}/step-${of}`;
  const placeOf = async (of: number) => ({
    folder: folderOf(of),
    weights: await weightsOf(folderOf(of)),
  });
  return {
    step,
    updates,
    ...(await placeOf(step)),
    best: best === null ? null : { ...best, ...(await placeOf(best.step)) },
    isStoppedEarly: step < totalSteps,
    metrics,
  };
}

function isValidated(step: number, totalSteps: number, validation?: Validation): boolean {
  const every = validation?.config.every ?? null;
  return every !== null && (step % every === 0 || step === totalSteps);
}

async function startOf(
  options: LoopOptions,
): Promise<{ step: number; updates: number; best: Best | null }> {
  const { run, learner, verb } = options;
  const start = { verb, step: 0, updates: 0, logs: {} };
  if (options.resume !== true) return { step: 0, updates: 0, best: null };
  const folder = await newestCheckpoint(run.checkpointsPath);
  const state = folder === undefined ? start : await loadCheckpoint(folder, learner);
  if (state.verb !== verb) {
    throw new VigorlError("usage", `${run.path}: is a run of ${state.verb}, not of ${verb}`);
  }
  await run.rewind(state.step, state.logs);
  // A kill may have come between the last checkpoint and the removal of older ones.
  const best = options.validation === undefined ? null : await loggedBest(run);
  await removeOlder(run.checkpointsPath, options.keepCheckpoints, learner, best?.step);
  return { step: state.step, updates: state.updates, best };
}
