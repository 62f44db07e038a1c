/**
 * GRPO on grounded episodes, single-turn and multi-turn by the same code (Shao et al. 2024; for
 * images and zoom, the ViGoRL paper §4.3). One step, top to bottom: prompts → episodes → rewards →
 * advantages → reference → parity gate → updates → metrics, traces, checkpoint.
 * Left out: critics, per-turn advantages, entropy bonuses, sampling ahead of the learner.
 *
 * Axes: P prompts, G members of a group, N episodes that are learned from, T positions.
 */
import { VigorlError } from "../core/errors.ts";
import type { Datum, Learner, Loss, StepOutput } from "../engine/types.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { TaskRecord } from "../task/record.ts";
import { toTrace, TraceWriter } from "../task/trace.ts";
import {
  aggregationOf,
  grpoData,
  hasGradient,
  selectRollouts,
  splitUpdates,
  type LearnedRollout,
  type Recomputed,
} from "./batch.ts";
import { importanceWeights } from "./importance.ts";
import { runSteps, type LoopOptions, type LoopResult } from "./loop.ts";
import { maskedMean, meanOf, PhaseClock, type Metrics } from "./metrics.ts";
import { optimParams } from "./optimiser.ts";
import { ParityGate } from "./parity.ts";
import type { RlConfig } from "./rl-config.ts";
import { episodeMetrics, PromptSource, sampleGroups, toRollout } from "./rollouts.ts";
import { requireFinite } from "./sft.ts";

export interface RlOptions extends Pick<
  LoopOptions,
  "learner" | "run" | "resume" | "signal" | "onStep"
> {
  readonly records: readonly TaskRecord[];
  readonly episode: EpisodeConfig;
  readonly config: RlConfig;
  readonly seed: number;
}

/**
 * Trains on the records and leaves checkpoints, metrics and traces in the run folder. The learner's
 * present weights are the start and the reference.
 * Throws VigorlError("numerics" | "interrupted" | "input" | "io").
 */
export async function trainRl(options: RlOptions): Promise<LoopResult> {
  const { learner, run, config, seed, signal } = options;
  if (options.records.length === 0) throw new VigorlError("input", "rl: there are no records");
  if (config.klCoef > 0) await learner.setReference();
  const { temperature, topP, topK } = config;
  const episode = { ...options.episode, sampling: { temperature, topP, topK } };
  const { tokenizer } = episode.chat;
  const prompts = new PromptSource(options.records, episode, config.promptsPerStep, seed);
  const gate = new ParityGate(learner, config.parity, {
    visionStartId: tokenizer.visionStartId,
    visionEndId: tokenizer.visionEndId,
    mergeSize: episode.preprocessor.mergeSize,
  });
  const traces = new TraceWriter(run.path);
  let version: number | undefined;

  const loop = { ...options, ...config, verb: "rl" as const, totalSteps: config.steps };
  return runSteps(loop, async (step, updatesBefore) => {
    const clock = new PhaseClock();
    const started = performance.now();

    const groups_P_G = await clock.measure("sample", async () =>
      sampleGroups(await prompts.take(step), {
        ...config,
        sampler: learner,
        episode,
        seed,
        key: ["rollout", step],
        ...(signal === undefined ? {} : { signal }),
      }),
    );
    if (step < config.steps) prompts.prefetch(step + 1);
    const scored = groups_P_G.flat();
    if (scored.every((one) => one.episode.error !== null)) {
      throw new VigorlError("input", `step ${step}: every episode failed`, {
        hint: `the first says: ${scored[0].episode.error}`,
      });
    }

    const selection = selectRollouts(
      groups_P_G.map((group) => group.map(toRollout)),
      config,
    );
    const { rollouts_N } = selection;
    const recomputed_N = await clock.measure("reference", () =>
      recompute(learner, rollouts_N, config, version),
    );

    const learned = await clock.measure("learn", () =>
      learn(learner, { rollouts_N, recomputed_N }, config, { seed, step, updatesBefore, gate }),
    );
    version = learned.weightsVersion ?? version;

    if (step === 1 || step % config.tracesEvery === 0)
      await clock.measure("save", async () => {
        for (const one of scored.slice(0, config.tracesPerStep)) {
          const place = { step, member: one.member };
          const trace = toTrace(one.episode, one.record, one.reward, place, episode.chat);
          await traces.append(trace, one.episode);
        }
      });

    const read_N = rollouts_N.filter((rollout) => hasGradient(rollout, config));
    const numPositions = sum(read_N, ({ mask_T }) => mask_T.length) * config.epochs;
    const numWritten = sum(scored, (one) => one.episode.numTokens.model);
    const metrics: Metrics = {
      step,
      epoch: prompts.epochOf(step),
      ...episodeMetrics(scored, config.reward.minDistancePx),
      zeroVarianceShare: selection.numZeroVariance / selection.numGroups,
      trainedEpisodes: rollouts_N.length,
      trainedTokens: sum(rollouts_N, ({ mask_T }) => mask_T.filter((one) => one !== 0).length),
      ...learned.metrics,
      ...gate.takeMetrics(),
      "tokensPerSecond/sample": numWritten / clock.seconds("sample"),
      "tokensPerSecond/learn": numPositions / clock.seconds("learn"),
      "seconds/sample": clock.seconds("sample"),
      "seconds/reference": clock.seconds("reference"),
      "seconds/learn": clock.seconds("learn"),
      "seconds/save": clock.seconds("save"),
      "seconds/step": (performance.now() - started) / 1000,
    };
    return { metrics, updates: learned.numUpdates };
  });
}

interface Batch {
  readonly rollouts_N: readonly LearnedRollout[];
  readonly recomputed_N: readonly Recomputed[];
}

interface Learned {
  readonly numUpdates: number;
  /** After the last update; undefined where there was none. */
  readonly weightsVersion: number | undefined;
  readonly metrics: Omit<Metrics, "step">;
}

/** All updates on the batch of a step; the parity gate stands before the first. */
async function learn(
  learner: Learner,
  { rollouts_N, recomputed_N }: Batch,
  config: RlConfig,
  place: { seed: number; step: number; updatesBefore: number; gate: ParityGate },
): Promise<Learned> {
  const { seed, step, updatesBefore, gate } = place;
  const totalUpdates = config.steps * config.numUpdates * config.epochs;
  const isRead = (rollout: LearnedRollout): boolean => hasGradient(rollout, config);
  const outputs: StepOutput[] = [];
  const gradNorms: number[] = [];
  let weightsVersion: number | undefined;
  let learningRate = 0;
  for (let epoch = 0; epoch < config.epochs; epoch++) {
    for (const part of splitUpdates(rollouts_N.length, config.numUpdates, seed, step, epoch)) {
      const rollouts = part.map((n) => rollouts_N[n]);
      const recomputed = part.map((n) => recomputed_N[n]);
      const averaged = grpoData(rollouts, recomputed, aggregationOf(config));
      const data = averaged.filter((_, n) => isRead(rollouts[n]));
      if (data.length === 0) continue;
      const output = await learner.forwardBackward(data, lossOf(config));
      requireFinite(output.loss, step);
      if (config.parity.enabled && outputs.length === 0)
        await gate.check(step, rollouts.filter(isRead), data, output.outputs);
      const params = optimParams(config, updatesBefore + outputs.length, totalUpdates);
      const optim = await learner.optimStep(params);
      outputs.push(output);
      gradNorms.push(optim.gradNorm);
      weightsVersion = optim.weightsVersion;
      learningRate = params.learningRate;
    }
  }
  const numUpdates = outputs.length;
  if (numUpdates === 0) return { numUpdates, weightsVersion, metrics: { learningRate } };
  const corrections = recomputed_N.flatMap((each) => each.importance_T ?? []);
  const masks = rollouts_N.map((each) => each.mask_T);
  const metrics = {
    loss: outputs.at(-1)!.loss,
    entropy: meanOf(outputs.map((output) => entropyOf(output))),
    kl: meanOf(outputs.map((output) => output.kl)),
    clipFraction: meanOf(outputs.map((output) => output.clipFraction)),
    ...(corrections.length === 0 ? {} : { importance: maskedMean(corrections, masks) }),
    gradNorm: meanOf(gradNorms),
    learningRate,
  };
  return { numUpdates, weightsVersion, metrics };
}

/**
 * Forward passes before the first update, only those that the loss needs: π_old where the weights
 * will have moved before the batch is used up, the reference where the KL has a weight, and the
 * present weights where the sampler's were others. π_old is the learner's own word, so that the
 * result does not depend on how the sampler rounded.
 */
async function recompute(
  learner: Learner,
  rollouts_N: readonly LearnedRollout[],
  config: RlConfig,
  version: number | undefined,
): Promise<Recomputed[]> {
  if (rollouts_N.length === 0) return [];
  const stale = rollouts_N.some(
    ({ weightsVersion }) =>
      version !== undefined && weightsVersion >= 0 && weightsVersion !== version,
  );
  const correct = config.importance === "always" || (config.importance === "stale" && stale);
  const needsOld = correct || !isOnPolicy(config);
  const data: Datum[] = rollouts_N.map(({ chunks, mask_T }) => ({ chunks, weights: mask_T }));
  const old_N = needsOld ? await learner.forward(data) : undefined;
  const ref_N =
    config.klCoef > 0 ? await learner.forward(data, { weights: "reference" }) : undefined;
  return rollouts_N.map(({ mask_T, logprobs_T }, n) => {
    const old = old_N?.[n].logprobs;
    return {
      ...(old === undefined ? {} : { oldLogprobs_T: old }),
      ...(ref_N === undefined ? {} : { refLogprobs_T: ref_N[n].logprobs }),
      ...(correct && old !== undefined
        ? { importance_T: importanceWeights(old, logprobs_T, mask_T, config.importanceCap) }
        : {}),
    };
  });
}

/** One update on fresh samples: the ratio is 1 whatever the old log-probabilities say. */
function isOnPolicy(config: RlConfig): boolean {
  return config.numUpdates * config.epochs === 1;
}

function lossOf(config: RlConfig): Loss {
  const { clipLow, clipHigh, dualClip, klCoef } = config;
  return { kind: "grpo", clipLow, clipHigh, dualClip, klCoef, onPolicy: isOnPolicy(config) };
}

/** Mean over trained tokens; entropies are 0 elsewhere. */
function entropyOf({ outputs }: StepOutput): number {
  const entropies = outputs.map((output) => output.entropy);
  return maskedMean(entropies, entropies);
}

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}
