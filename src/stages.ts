/**
 * The stages of a pipeline as functions of a recipe: warm start, GRPO, evaluation arms. The verbs
 * `sft`, `rl` and `eval` are one stage each; `pipeline.ts` puts them in a row.
 */
import { existsSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { join } from "node:path";
import { VigorlError } from "./core/errors.ts";
import { hashFile } from "./core/files.ts";
import { findPath } from "./core/paths.ts";
import { Progress } from "./core/progress.ts";
import { createRunFolder, isRunFolder, openRunFolder, type RunFolder } from "./core/run-folder.ts";
import { openLocalEngine, type LocalEngine } from "./engine/local/client.ts";
import { runArm } from "./eval/arm.ts";
import { conditionTable, type Condition } from "./eval/controls.ts";
import type { Evaluation } from "./eval/evaluate.ts";
import type { Recipe, TaskSet } from "./recipe.ts";
import { loadEpisodeConfig, type EpisodeConfig } from "./task/episode-config.ts";
import { none, type ToolControl } from "./task/tools/controls.ts";
import { trainRl } from "./train/grpo.ts";
import type { LoopResult } from "./train/loop.ts";
import type { Metrics } from "./train/metrics.ts";
import { trainSft } from "./train/sft.ts";
import { warmStartExamples } from "./warm-start.ts";

/** How a stage is run. */
export interface StageOptions {
  readonly recipe: Recipe;
  /** Run folder of the stage. */
  readonly path: string;
  /** Go on where a run of the same recipe was stopped. */
  readonly resume: boolean;
  readonly overwrite: boolean;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
}

/** What a stage leaves: its folder (of training, that of the last weights), and how long it took. */
export interface Staged {
  readonly folder: string;
  readonly seconds: number;
  /** Counts by what they count. */
  readonly notes: Readonly<Record<string, number>>;
}

/** What training leaves. */
export interface Trained extends Staged {
  readonly steps: number;
}

/** Warm start on the model's own right episodes, or on the chains of a search. */
export async function sftStage(
  options: StageOptions,
  model: string,
  tasks: readonly TaskSet[],
): Promise<Trained> {
  const { recipe, signal, quiet } = options;
  const start = performance.now();
  const episode = await episodeConfig(recipe, model);
  const engine = await openEngine(recipe, model, recipe.sft.trainable);
  try {
    const { run, resume } = await openRun(options, "sft", model);
    const { examples, counts } = await warmStartExamples(options, run, engine, episode, tasks);
    const steps = recipe.sft.epochs * Math.ceil(examples.length / recipe.sft.batchSize);
    const { config, seed } = { config: recipe.sft, seed: recipe.seed };
    const result = await withProgress("sft", steps, quiet, (onStep) =>
      trainSft({ learner: engine, examples, config, seed, run, resume, signal, onStep }),
    );
    return trained(result, start, { ...counts, tooLong: result.numTooLong });
  } finally {
    await engine.close();
  }
}

/** GRPO from `model` on the tasks' questions. */
export async function rlStage(
  options: StageOptions,
  model: string,
  tasks: readonly TaskSet[],
  label = "rl",
): Promise<Trained> {
  const { recipe, signal, quiet } = options;
  const start = performance.now();
  const episode = await episodeConfig(recipe, model);
  const learner = await openEngine(recipe, model, recipe.rl.trainable);
  try {
    const { run, resume } = await openRun(options, "rl", model);
    const result = await withProgress(label, recipe.rl.steps, quiet, (onStep) =>
      trainRl({
        learner,
        records: tasks.flatMap((set) => set.records),
        episode,
        config: recipe.rl,
        seed: recipe.seed,
        run,
        resume,
        signal,
        onStep,
        onWarning: (message) => void (quiet || process.stderr.write(`${message}\n`)),
      }),
    );
    return trained(result, start, {});
  } finally {
    await learner.close();
  }
}

/** An arm of an evaluation: a model under a condition. */
export interface ArmPlan {
  readonly arm: string;
  readonly condition: Condition;
  /** Offer the recipe's tools (arms of models that were trained without them do not). */
  readonly tools: boolean;
}

/** Runs arms of one model over all tasks; finished ones are read back without opening the model. */
export async function evaluateArms(
  options: StageOptions,
  model: string,
  plans: readonly ArmPlan[],
  tasks: readonly TaskSet[],
  report: (task: string, arm: string, evaluation: Evaluation) => void,
): Promise<void> {
  const { recipe, path, signal, quiet } = options;
  const engine = await openEngine(recipe, model, "all");
  try {
    for (const { arm, condition, tools: isOffered } of plans) {
      const control = isOffered ? conditionTable[condition].tool : none;
      const episode = await episodeConfig(recipe, model, control);
      for (const { task, records } of tasks) {
        const progress = new Progress({
          label: `eval ${task} ${arm}`,
          total: records.length,
          unit: "questions",
          quiet,
        });
        try {
          const evaluation = await runArm({
            folder: path,
            task,
            arm,
            sampler: engine,
            records,
            episode,
            config: recipe.eval,
            reward: recipe.rl.reward,
            condition,
            seed: recipe.seed,
            signal,
            onProgress: (done, figures) => progress.update(done, figures),
          });
          report(task, arm, evaluation);
        } finally {
          progress.finish();
        }
      }
    }
  } finally {
    await engine.close();
  }
}

/** Opens a stage's run folder: a new one, or with `resume` the one that was stopped. */
export async function openRun(
  { path, recipe, resume, overwrite }: Omit<StageOptions, "signal" | "quiet">,
  verb: string,
  model: string,
): Promise<{ run: RunFolder; resume: boolean }> {
  if (resume && (await isRunFolder(path))) {
    const run = await openRunFolder(path);
    if (!isDeepStrictEqual(run.manifest.recipe, asJson(recipe))) {
      throw new VigorlError("usage", `${path}: was started with another recipe`, {
        hint: "resume with the recipe and flags of its manifest.json, or start again with --overwrite",
      });
    }
    run.logTo(recipe.log);
    return { run, resume: true };
  }
  const dataHashes: Record<string, string> = {};
  const files = [...recipe.data.train, ...recipe.data.heldout].flatMap(({ file }) => file ?? []);
  for (const file of [...files.map(findPath), join(model, "model.safetensors")])
    if (existsSync(file)) dataHashes[file] = await hashFile(file);
  const { name, seed } = recipe;
  const { torchVersion } = await import("./torch/device.ts");
  const versions = { libtorch: torchVersion() };
  const run = await createRunFolder(
    path,
    { verb, name, seed, recipe: asJson(recipe), versions, dataHashes },
    { overwrite },
  );
  run.logTo(recipe.log);
  return { run, resume: false };
}

/** Opens a model folder as an engine on the recipe's device. */
export async function openEngine(
  { device, dtype, threads }: Pick<Recipe, "device" | "dtype" | "threads">,
  model: string,
  trainable: "all" | "language",
): Promise<LocalEngine> {
  const { resolveDevice } = await import("./torch/device.ts");
  return openLocalEngine(model, {
    device: resolveDevice(device),
    dtype,
    trainable,
    ...(threads === undefined ? {} : { threads }),
  });
}

/** How episodes are played with a model under a recipe; `control` changes the tools. */
export async function episodeConfig(
  recipe: Recipe,
  model: string,
  control: ToolControl | null = null,
): Promise<EpisodeConfig> {
  const { temperature, topP, topK } = recipe.eval;
  return loadEpisodeConfig(model, { ...recipe, sampling: { temperature, topP, topK } }, control);
}

async function withProgress<T>(
  label: string,
  total: number,
  quiet: boolean,
  work: (onStep: (metrics: Metrics) => void) => Promise<T>,
): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await work((metrics) => {
      progress ??= new Progress({ label, total, done: metrics.step, quiet });
      progress.update(metrics.step, figuresOf(metrics));
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
    "tool uses": metrics.toolUsesPerEpisode,
    loss: metrics.reward === undefined ? metrics.loss : undefined,
    "tokens/s": metrics["tokensPerSecond/sample"] ?? metrics["tokensPerSecond/learn"],
  };
  return Object.fromEntries(
    Object.entries(names).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}

function trained(result: LoopResult, start: number, notes: Staged["notes"]): Trained {
  const { folder, step: steps } = result;
  const seconds = (performance.now() - start) / 1000;
  return { folder, steps, seconds, notes: { steps, ...notes } };
}

/** A value as it comes back from a JSON file. */
function asJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
