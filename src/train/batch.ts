/**
 * From the scored episodes of a step to training data: advantages, what is left out, and the cut
 * into updates. Pure; everything that is dropped is counted.
 *
 * Axes: P prompts, G members of a group, N episodes that are learned from, T positions.
 */
import { VigorlError } from "../core/errors.ts";
import { stream } from "../core/random.ts";
import { numPositions, type Chunk, type Datum } from "../engine/types.ts";
import { aggregationWeights, type Aggregation } from "./aggregation.ts";
import { groupAdvantages, isZeroVariance } from "./advantages.ts";
import type { RlConfig } from "./rl-config.ts";

/** An episode as the loss sees it. Arrays over the T positions of its chunks. */
export interface Rollout {
  /** Names the episode in messages: record, member. */
  readonly id: string;
  readonly chunks: readonly Chunk[];
  /** 1 where the model itself chose the token. */
  readonly mask_T: Float32Array;
  /** Log-probabilities at sampling time; 0 where the mask is 0. */
  readonly logprobs_T: Float32Array;
  readonly reward: number;
  /** `cutOff`: ended by a limit and not by the model. `failed`: by an error or without a word, never learned from. */
  readonly status: "complete" | "cutOff" | "failed";
  /** Hashes of its images, as recorded when the model was shown them. */
  readonly imageHashes: readonly string[];
  /** Optimiser steps that the sampling weights had seen; -1 where unknown. */
  readonly weightsVersion: number;
}

export interface LearnedRollout extends Rollout {
  readonly advantage: number;
}

export interface Selection {
  readonly rollouts_N: LearnedRollout[];
  readonly numGroups: number;
  readonly numZeroVariance: number;
  readonly numOverlong: number;
}

/** Advantages of every group, and which episodes enter the loss. */
export function selectRollouts(
  groups_P_G: readonly (readonly Rollout[])[],
  config: Pick<RlConfig, "advantage" | "zeroVariance" | "overlong">,
): Selection {
  const rollouts_N: LearnedRollout[] = [];
  let numZeroVariance = 0;
  let numOverlong = 0;
  for (const group of groups_P_G) {
    const cut_G = group.map((rollout) => rollout.status === "cutOff");
    numOverlong += cut_G.filter(Boolean).length;
    const inBaseline_G = group.map(
      ({ status }, g) => status !== "failed" && !(cut_G[g] && config.overlong === "exclude"),
    );
    const rewards_G = group.map((rollout, g) =>
      cut_G[g] && config.overlong === "mask" ? 0 : rollout.reward,
    );
    const flat = isZeroVariance(rewards_G, inBaseline_G);
    const advantages_G = flat
      ? group.map(() => 0)
      : groupAdvantages(rewards_G, config.advantage, inBaseline_G);
    if (flat) numZeroVariance++;
    if (flat && config.zeroVariance === "drop") continue;
    group.forEach((rollout, g) => {
      const masked = rollout.status === "failed" || (cut_G[g] && config.overlong !== "keep");
      if (!masked) rollouts_N.push({ ...rollout, advantage: advantages_G[g] });
    });
  }
  return { rollouts_N, numGroups: groups_P_G.length, numZeroVariance, numOverlong };
}

/**
 * Cuts `count` episodes into `numUpdates` parts of equal size (±1) for pass `epoch`, as indices.
 * One part keeps the order; several are shuffled by a stream of their own. Fewer episodes than
 * parts give fewer parts.
 */
export function splitUpdates(
  count: number,
  numUpdates: number,
  seed: number,
  step: number,
  epoch: number,
): number[][] {
  const all = Array.from({ length: count }, (_, index) => index);
  const parts = Math.min(numUpdates, count);
  if (parts <= 1) return count === 0 ? [] : [all];
  const shuffled = stream(seed, "updates", step, epoch).shuffle(all);
  return Array.from({ length: parts }, (_, part) =>
    shuffled.slice(Math.floor((part * count) / parts), Math.floor(((part + 1) * count) / parts)),
  );
}

/** What forward passes before the update found out, per episode. */
export interface Recomputed {
  readonly oldLogprobs_T?: Float32Array;
  readonly refLogprobs_T?: Float32Array;
  readonly importance_T?: Float32Array;
}

/** The data of one update. Throws VigorlError("numerics") on an empty batch or a bad number. */
export function grpoData(
  rollouts_N: readonly LearnedRollout[],
  recomputed_N: readonly Recomputed[],
  aggregation: Aggregation,
): Datum[] {
  const weights_N = aggregationWeights(
    rollouts_N.map((rollout) => rollout.mask_T),
    aggregation,
  );
  return rollouts_N.map((rollout, n) => {
    const { oldLogprobs_T, refLogprobs_T, importance_T } = recomputed_N[n];
    const datum: Datum = {
      chunks: rollout.chunks,
      weights: weights_N[n],
      advantages: new Float32Array(rollout.mask_T.length).fill(rollout.advantage),
      ...(oldLogprobs_T === undefined ? {} : { oldLogprobs: oldLogprobs_T }),
      ...(refLogprobs_T === undefined ? {} : { refLogprobs: refLogprobs_T }),
      ...(importance_T === undefined ? {} : { importance: importance_T }),
    };
    checkDatum(datum, rollout.id);
    return datum;
  });
}

/**
 * False where a datum of `grpoData` has no gradient, so that the learner need not read it. It has
 * counted in the average all the same.
 */
export function hasGradient(rollout: LearnedRollout, config: Pick<RlConfig, "klCoef">): boolean {
  return rollout.advantage !== 0 || config.klCoef > 0;
}

/** Throws VigorlError("numerics") where an array does not fit the chunks or holds no number. */
export function checkDatum(datum: Datum, id: string): void {
  const length = numPositions(datum.chunks);
  const { weights, oldLogprobs, refLogprobs, advantages, importance } = datum;
  const arrays = { weights, oldLogprobs, refLogprobs, advantages, importance };
  for (const [name, values] of Object.entries(arrays)) {
    if (values === undefined) continue;
    if (values.length !== length) {
      throw new VigorlError(
        "numerics",
        `${id}: ${name} has ${values.length} entries for ${length} positions`,
      );
    }
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw new VigorlError("numerics", `${id}: ${name}[${bad}] is ${values[bad]}`);
  }
}

/** The aggregation that the flat keys of a recipe describe. */
export function aggregationOf(
  config: Pick<RlConfig, "aggregation" | "aggregationLength" | "aggregationMicroBatch">,
): Aggregation {
  switch (config.aggregation) {
    case "constantLength":
      return { kind: "constantLength", length: config.aggregationLength };
    case "microBatchMean":
      return { kind: "microBatchMean", microBatch: config.aggregationMicroBatch };
    default:
      return { kind: config.aggregation };
  }
}
