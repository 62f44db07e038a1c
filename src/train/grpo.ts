/**
 * GRPO on grounded episodes, single-turn and multi-turn by the same code (Shao et al. 2024; for
 * images and tools, the ViGoRL paper §4.3); `rl.loss` chooses the objective. One step, top to bottom:
 * prompts → episodes → rewards → advantages → reference → parity gate → updates → metrics, traces,
 * checkpoint.
 * Left out: critics, per-turn advantages, entropy bonuses, sampling ahead of the learner.
 *
 * Axes: P prompts, G members of a group, N episodes that are learned from, T positions.
 */
import { VigorlError } from "../core/errors.ts";
import type { Learner, Loss, StepOutput } from "../engine/types.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { TaskRecord } from "../task/record.ts";
import { toTrace, TraceWriter } from "../task/trace.ts";
import {
  aggregationOf,
  hasGradient,
  numTrained,
  selectEpisodes,
  splitUpdates,
  updateData,
  type LearnedEpisode,
} from "./batch.ts";
import { BrokenRecords } from "./broken-records.ts";
import { watchRun, type CollapseWatch } from "./collapse.ts";
import { IdleWatch } from "./idle-watch.ts";
import { importanceWeights } from "./importance.ts";
import { runSteps, type LoopOptions, type LoopResult } from "./loop.ts";
import { entropyOf, maskedMean, meanOf, PhaseClock, type Metrics } from "./metrics.ts";
import { optimParams, requireSomeRate } from "./optimizer.ts";
import { ParityGate, type ParityRecord } from "./parity.ts";
import type { RlConfig } from "./rl-config.ts";
import { episodeMetrics, oldestVersion, PromptSource, sampleGroups } from "./rollouts.ts";
import { requireFinite } from "./sft.ts";
import { showEpisodes } from "./show-episodes.ts";

export interface RlOptions extends Pick<
  LoopOptions,
  "learner" | "run" | "resume" | "signal" | "validation" | "onStep" | "files"
> {
  readonly records: readonly TaskRecord[];
  readonly episode: EpisodeConfig;
  readonly config: RlConfig;
  readonly seed: number;
  /** Told what does not stop the run. */
  readonly onWarning?: (message: string) => void;
}

export interface RlResult extends LoopResult {
  /** Records of this process whose images could not be shown: their episodes are left out. */
  readonly numBroken: number;
}

/**
 * Trains on the records and leaves checkpoints, metrics and traces in the run folder. The learner's
 * present weights are the start and the reference.
 * Throws VigorlError("numerics" | "interrupted" | "input" | "io"); "input" also where nothing can be
 * learned from the episodes.
 */
export async function trainRl(options: RlOptions): Promise<RlResult> {
  const { learner, run, config, seed, signal } = options;
  if (options.records.length === 0) throw new VigorlError("input", "rl: there are no records");
  requireSomeRate("rl", config, config.steps);
  if (config.klCoef > 0) await learner.setReference();
  const { temperature, topP, topK } = config;
  const sampling = { temperature, topP, topK, endOfTurn: true };
  const episode = { ...options.episode, sampling };
  const { tokenizer } = episode.chat;
  const prompts = new PromptSource(options.records, episode, config.promptsPerStep, seed);
  const placeholders = {
    visionStartId: tokenizer.visionStartId,
    visionEndId: tokenizer.visionEndId,
    mergeSize: episode.preprocessor.mergeSize,
  };
  const warn = options.onWarning ?? (() => undefined);
  const gate = new ParityGate(learner, config.parity, placeholders, warn);
  const traces = new TraceWriter(run.path);
  const broken = new BrokenRecords(warn);
  const idle = new IdleWatch("rl", config.maxIdleSteps);
  let collapse: CollapseWatch | undefined;
  let version: number | undefined;

  const loop = { ...options, ...config, verb: "rl" as const, totalSteps: config.steps };
  const result = await runSteps(loop, async (step, updatesBefore) => {
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
    broken.note(scored);
    if (scored.every((one) => one.episode.error !== null)) {
      throw new VigorlError("input", `step ${step}: every episode failed`, {
        hint: `the first says: ${scored[0].episode.error}`,
      });
    }

    const selection = selectEpisodes(groups_P_G, config, config.trainForced ? episode.chat : null);
    idle.note(step, scored, selection);
    const episodes_N = await clock.measure("reference", () =>
      recompute(learner, selection.episodes_N, config, version),
    );

    const learned = await clock.measure("learn", () =>
      learn(learner, episodes_N, config, { seed, step, updatesBefore, gate }),
    );
    version = learned.weightsVersion ?? version;

    if (step === 1 || step % config.tracesEvery === 0)
      await clock.measure("save", async () => {
        for (const one of scored.slice(0, config.tracesPerStep)) {
          const place = { step, member: one.member };
          const trace = toTrace(one.episode, one.record, one.reward, place, episode.chat);
          await traces.append(trace, one.episode);
        }
        if (run.showsPictures) await showEpisodes(run, step, scored.slice(0, config.tracesPerStep));
      });

    const read_N = episodes_N.filter((one) => hasGradient(one, config));
    const numPositions = sum(read_N, ({ datum }) => datum.weights.length) * config.epochs;
    const trained_N = episodes_N.map(({ datum }) => numTrained(datum));
    const numWritten = sum(scored, (one) => one.episode.numTokens.model);
    const metrics: Metrics = {
      step,
      epoch: prompts.epochOf(step),
      ...episodeMetrics(scored, config.reward.minDistancePx),
      zeroVarianceShare: selection.numZeroVariance / selection.numGroups,
      trainedEpisodes: trained_N.filter((count) => count > 0).length,
      trainedTokens: sum(trained_N, (count) => count),
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
    collapse ??= await watchRun(run.file("metrics.jsonl"), config.alarms);
    for (const { message } of collapse.note(metrics)) warn(`rl: step ${step}: ${message}`);
    return { metrics, updates: learned.numUpdates };
  });
  idle.requireSome(result.updates, options.resume !== true);
  return { ...result, numBroken: broken.count };
}

interface Learned {
  readonly numUpdates: number;
  /** After the last update; undefined where there was none. */
  readonly weightsVersion: number | undefined;
  readonly metrics: Omit<Metrics, "step">;
}

/** All updates on the batch of a step; the parity gate stands before one of them. */
async function learn(
  learner: Learner,
  episodes_N: readonly LearnedEpisode[],
  config: RlConfig,
  place: { seed: number; step: number; updatesBefore: number; gate: ParityGate },
): Promise<Learned> {
  const { seed, step, updatesBefore, gate } = place;
  const totalUpdates = config.steps * config.numUpdates * config.epochs;
  const parts = Array.from({ length: config.epochs }, (_, epoch) =>
    splitUpdates(episodes_N.length, config.numUpdates, seed, step, epoch),
  ).flat();
  const updates = parts
    .map((part) => part.map((n) => episodes_N[n]))
    .filter((part) => part.some((one) => hasGradient(one, config)));
  const checked = gate.updateToCheck(step, updates.length, seed);
  const outputs: StepOutput[] = [];
  const gradNorms: number[] = [];
  const entropies: number[] = [];
  let weightsVersion: number | undefined;
  let learningRate = 0;
  for (const [index, part] of updates.entries()) {
    const isRead = part.map((one) => hasGradient(one, config));
    const episodes = part.filter((_, n) => isRead[n]);
    const data = updateData(part, aggregationOf(config)).filter((_, n) => isRead[n]);
    const output = await learner.forwardBackward(data, lossOf(config));
    requireFinite(output.loss, step);
    if (config.parity.enabled && index === checked) {
      const old_N = episodes.flatMap(({ datum }) => datum.oldLogprobs ?? []);
      await gate.check({
        step,
        records_N: episodes.map(asSampled),
        data_N: data,
        outputs_N: output.outputs,
        ...(index === 0 ? {} : { oldLogprobs_N: old_N }),
      });
    }
    const [at, total] =
      config.warmup === "perStep"
        ? [step - 1, config.steps]
        : [updatesBefore + outputs.length, totalUpdates];
    const params = optimParams(config, at, total);
    const optim = await learner.optimStep(params);
    outputs.push(output);
    if (optim.gradNorm !== undefined) gradNorms.push(optim.gradNorm);
    const { entropy } = entropyOf(
      output.outputs,
      data.map(({ weights }) => weights),
    );
    if (entropy !== undefined) entropies.push(entropy);
    weightsVersion = optim.weightsVersion;
    learningRate = params.learningRate;
  }
  const numUpdates = outputs.length;
  if (numUpdates === 0) return { numUpdates, weightsVersion, metrics: { learningRate } };
  const corrections = episodes_N.flatMap(({ datum }) => datum.importance ?? []);
  const masks = episodes_N.map(({ datum }) => datum.weights);
  const metrics = {
    loss: outputs.at(-1)!.loss,
    ...(entropies.length === 0 ? {} : { entropy: meanOf(entropies) }),
    kl: meanOf(outputs.map((output) => output.kl)),
    clipFraction: meanOf(outputs.map((output) => output.clipFraction)),
    ...(corrections.length === 0 ? {} : { importance: maskedMean(corrections, masks) }),
    ...(gradNorms.length === 0 ? {} : { gradNorm: meanOf(gradNorms) }),
    learningRate,
  };
  return { numUpdates, weightsVersion, metrics };
}

/** What the sampler saw and said, for the parity gate. */
function asSampled({ episode, logprobs_T, chosen_T, datum }: LearnedEpisode): ParityRecord {
  const shown = episode.chunks.findLast((chunk) => chunk.author === "model");
  const told = shown?.type === "text" ? shown.imageHashes : undefined;
  const imageHashes =
    told ?? datum.chunks.flatMap((chunk) => (chunk.type === "image" ? [chunk.image.hash] : []));
  return { id: episode.id, imageHashes, mask_T: chosen_T, logprobs_T };
}

/**
 * Forward passes before the first update, only those that the loss needs: π_old where the weights
 * will have moved before the batch is used up, the reference where the KL has a weight, and the
 * present weights where the sampler's were others. π_old is the learner's own word, so that the
 * result does not depend on how the sampler rounded.
 */
async function recompute(
  learner: Learner,
  episodes_N: readonly LearnedEpisode[],
  config: RlConfig,
  version: number | undefined,
): Promise<readonly LearnedEpisode[]> {
  if (episodes_N.length === 0) return [];
  const stale = episodes_N.some(({ episode }) => {
    const sampledBy = oldestVersion(episode);
    return version !== undefined && sampledBy >= 0 && sampledBy !== version;
  });
  const correct = config.importance === "always" || (config.importance === "stale" && stale);
  const needsOld = correct || !isOnPolicy(config);
  const data = episodes_N.map(({ datum }) => datum);
  const old_N = needsOld ? await learner.forward(data) : undefined;
  const ref_N =
    config.klCoef > 0 ? await learner.forward(data, { weights: "reference" }) : undefined;
  return episodes_N.map((one, n) => {
    const old = old_N?.[n].logprobs;
    const { weights } = one.datum;
    const datum = {
      ...one.datum,
      ...(old === undefined ? {} : { oldLogprobs: old }),
      ...(ref_N === undefined ? {} : { refLogprobs: ref_N[n].logprobs }),
      ...(correct && old !== undefined
        ? { importance: importanceWeights(old, one.logprobs_T, weights, config.importanceCap) }
        : {}),
    };
    return { ...one, datum };
  });
}

/** One update on fresh samples: the ratio is 1 whatever the old log-probabilities say. */
function isOnPolicy(config: RlConfig): boolean {
  return config.numUpdates * config.epochs === 1;
}

function lossOf(config: RlConfig): Loss {
  const { loss, clipLow, clipHigh, dualClip, klCoef } = config;
  return { kind: loss, clipLow, clipHigh, dualClip, klCoef, onPolicy: isOnPolicy(config) };
}

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}
