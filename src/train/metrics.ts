/**
 * The one table of metric names, the same in metrics.jsonl, reports and docs, whatever the verb or
 * the engine. `docs/metrics.md` is written from it.
 */
import type { DatumOutput } from "../engine/types.ts";
import { rewardTerms } from "../task/reward.ts";

/** Of the terms of the reward, by their names. */
const rewardRows = Object.fromEntries(
  Object.entries(rewardTerms).map(([name, term]) => [
    `reward/${name}`,
    `mean worth of: ${term.about}`,
  ]),
) as Readonly<Record<`reward/${keyof typeof rewardTerms}`, string>>;

export const metricTable = {
  step: "number of the step, from 1",
  loss: "aggregated loss of the last update",
  reward: "mean reward of all episodes",
  ...rewardRows,
  accuracy: "mean score of the judge, in [0, 1]",
  "task/": "reward and accuracy of one task, where there are several: task/<name>/reward",
  toolUsesPerEpisode: "tool calls per episode that were carried out",
  toolShare: "share of episodes with a tool call that was carried out",
  cropOverlap:
    "what two crops of an episode share, as a part of the smaller one: mean over pairs, then over episodes with several",
  distinctPoints: "different points named per episode",
  invalidCalls: "tool calls per episode that could not be carried out",
  episodeTokens: "mean tokens that the model wrote per episode",
  episodeTurns: "mean assistant turns per episode",
  overlongShare: "share of episodes that were cut off",
  errorShare: "share of episodes that ended in an error",
  zeroVarianceShare: "share of groups whose rewards are all the same",
  trainedEpisodes: "episodes that entered the loss",
  trainedTokens: "tokens that entered the loss",
  entropy: "mean entropy of the predicted distributions at trained tokens, in nats",
  kl: "mean k3 KL to the reference, in nats",
  clipFraction: "share of trained tokens whose ratio was clipped",
  importance: "mean importance correction of trained tokens",
  gradNorm: "gradient norm before clipping",
  learningRate: "learning rate of the last update",
  epoch: "passes over the data, fractional",
  "parity/gapMean": "mean |log p sampler − log p learner| over trained tokens, in nats",
  "parity/gapMax": "largest such gap",
  "parity/blindGap": "mean gap when the learner's pixels are blanked",
  "parity/images": "different images whose pixels were checked against their hash",
  "validation/accuracy": "mean score of the judge on held-out questions, where it was validated",
  "validation/reward": "mean reward on them",
  "tokensPerSecond/sample": "tokens written per second of sampling",
  "tokensPerSecond/learn": "positions learned from per second of learning",
  "seconds/sample": "time for the episodes of the step",
  "seconds/reference": "time for forward passes before the update",
  "seconds/learn": "time for forward, backward and optimizer",
  "seconds/validate": "time for the held-out questions",
  "seconds/save": "time for checkpoints and traces",
  "seconds/step": "time for everything",
} as const;

export type MetricName = Exclude<keyof typeof metricTable, "task/"> | `task/${string}`;

/** One line of metrics.jsonl. */
export type Metrics = { readonly step: number } & Partial<Readonly<Record<MetricName, number>>>;

/** Mean of `values`, 0 where there are none. */
export function meanOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Mean of `values_N_T` over the positions where `masks_N_T` is not 0; 0 where there are none. */
export function maskedMean(
  values_N_T: readonly ArrayLike<number>[],
  masks_N_T: readonly ArrayLike<number>[],
): number {
  let sum = 0;
  let count = 0;
  masks_N_T.forEach((mask_T, n) => {
    for (let t = 0; t < mask_T.length; t++) {
      if (mask_T[t] === 0) continue;
      sum += values_N_T[n][t];
      count++;
    }
  });
  return count === 0 ? 0 : sum / count;
}

/** Measures phases of a step; `seconds` adds up over several calls with one name. */
export class PhaseClock {
  private readonly totals = new Map<string, number>();

  async measure<T>(phase: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      const seconds = (performance.now() - start) / 1000;
      this.totals.set(phase, this.seconds(phase) + seconds);
    }
  }

  seconds(phase: string): number {
    return this.totals.get(phase) ?? 0;
  }
}

/** The metric of that name over the trained tokens; none where an engine does not know entropies. */
export function entropyOf(
  outputs_N: readonly DatumOutput[],
  masks_N_T: readonly ArrayLike<number>[],
): { entropy?: number } {
  const entropies_N = outputs_N.flatMap(({ entropy }) => entropy ?? []);
  return entropies_N.length < outputs_N.length || outputs_N.length === 0
    ? {}
    : { entropy: maskedMean(entropies_N, masks_N_T) };
}
