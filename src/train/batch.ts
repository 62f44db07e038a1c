/**
 * From the scored episodes of a step to training data: advantages, what is left out, and the cut
 * into updates. An episode becomes one datum, which only its weights change from update to update.
 * Pure; everything that is dropped is counted.
 *
 * Axes: P prompts, G members of a group, N episodes that are learned from, T positions.
 */
import { stream } from "../core/random.ts";
import { checkDatum } from "../engine/losses/table.ts";
import { numPositions, type Datum } from "../engine/types.ts";
import { episodeToDatum } from "../task/trajectory.ts";
import type { ChatFormat } from "../text/chat.ts";
import { aggregationWeights, type Aggregation } from "./aggregation.ts";
import { groupAdvantages, isZeroVariance } from "./advantages.ts";
import { withForcedTokens } from "./forced-tokens.ts";
import type { RlConfig } from "./rl-config.ts";
import { statusOf, type ScoredEpisode } from "./rollouts.ts";

/** An episode of the batch, and what the learner adds. Arrays over the T positions of its datum. */
export interface LearnedEpisode extends ScoredEpisode {
  readonly advantage: number;
  /** The sampler's log-probabilities, and 1 where it has one: where the model chose the token itself. */
  readonly logprobs_T: Float32Array;
  readonly chosen_T: Float32Array;
  /**
   * Weights: 1 where the token is learned from (`trainForced` says which), 0 throughout for an episode that counts in its
   * micro-batch and is not learned from. π_old and the reference come in before the first update.
   */
  readonly datum: Datum;
}

export interface Selection {
  readonly episodes_N: LearnedEpisode[];
  readonly numGroups: number;
  readonly numZeroVariance: number;
  readonly numOverlong: number;
}

/**
 * Advantages of every group, and which episodes enter the loss. With `forced`, the tokens that were put
 * into the model's turns are learned from as well.
 */
export function selectEpisodes(
  groups_P_G: readonly (readonly ScoredEpisode[])[],
  config: Pick<RlConfig, "advantage" | "zeroVariance" | "overlong">,
  forced: ChatFormat | null = null,
): Selection {
  const episodes_N: LearnedEpisode[] = [];
  let numZeroVariance = 0;
  let numOverlong = 0;
  for (const group of groups_P_G) {
    const status_G = group.map(({ episode }) => statusOf(episode));
    const cut_G = status_G.map((status) => status === "cutOff");
    numOverlong += cut_G.filter(Boolean).length;
    const inBaseline_G = status_G.map(
      (status, g) => status !== "failed" && !(cut_G[g] && config.overlong === "exclude"),
    );
    const rewards_G = group.map(({ reward }, g) =>
      cut_G[g] && config.overlong === "mask" ? 0 : reward.total,
    );
    const flat = isZeroVariance(rewards_G, inBaseline_G);
    const advantages_G = flat
      ? group.map(() => 0)
      : groupAdvantages(rewards_G, config.advantage, inBaseline_G);
    if (flat) numZeroVariance++;
    if (flat && config.zeroVariance === "drop") continue;
    group.forEach((scored, g) => {
      const isMasked = cut_G[g] && config.overlong === "mask";
      if (inBaseline_G[g]) episodes_N.push(toLearn(scored, advantages_G[g], isMasked, forced));
    });
  }
  return { episodes_N, numGroups: groups_P_G.length, numZeroVariance, numOverlong };
}

function toLearn(
  scored: ScoredEpisode,
  advantage: number,
  isMasked: boolean,
  forced: ChatFormat | null,
): LearnedEpisode {
  const { episode } = scored;
  const said = episodeToDatum(episode);
  const { chunks, weights } =
    forced === null ? said : episodeToDatum(withForcedTokens(episode, forced));
  const { id, temperature } = episode;
  const datum: Datum = {
    chunks,
    temperature,
    weights: isMasked ? new Float32Array(weights.length) : weights,
    advantages: new Float32Array(weights.length).fill(advantage),
  };
  checkDatum(datum, id, numPositions(chunks));
  const logprobs_T = padded(said.oldLogprobs ?? [], weights.length);
  const chosen_T = padded(isMasked ? [] : said.weights, weights.length);
  return { ...scored, advantage, logprobs_T, chosen_T, datum };
}

/** Forced tokens may come behind the last one that the model chose. */
function padded(values: ArrayLike<number>, length: number): Float32Array {
  const out = new Float32Array(length);
  out.set(values);
  return out;
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

/** The data of one update, weighed. Throws VigorlError("numerics") on an empty batch. */
export function updateData(
  episodes_N: readonly LearnedEpisode[],
  aggregation: Aggregation,
): Datum[] {
  const weights_N = aggregationWeights(
    episodes_N.map(({ datum }) => datum.weights),
    aggregation,
  );
  return episodes_N.map(({ datum }, n) => ({ ...datum, weights: weights_N[n] }));
}

/**
 * False where the datum of an episode has no gradient, so that the learner need not read it. It has
 * counted in the average all the same.
 */
export function hasGradient(
  { advantage, datum }: LearnedEpisode,
  config: Pick<RlConfig, "klCoef">,
): boolean {
  return (advantage !== 0 || config.klCoef > 0) && numTrained(datum) > 0;
}

/** Tokens of a datum that are trained. */
export function numTrained({ weights }: Datum): number {
  return weights.reduce((count, weight) => count + (weight === 0 ? 0 : 1), 0);
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
