/**
 * What the policy losses share: their options, the clipped surrogate, the KL to the reference and the
 * importance correction, which scales the policy term and never the KL.
 *
 * Sources: clipped surrogate of PPO (Schulman et al. 2017) with separate bounds (DAPO's clip-higher,
 * arXiv:2503.14476), dual clip (Ye et al. 2020), k3 estimator of the KL (Schulman 2020); bounds on
 * exponents and on the estimator as in EasyR1.
 */
import type { Datum } from "../types.ts";
import { scoredPositions, type DatumLoss, type LossKind } from "./datum-loss.ts";

/** `clipLow` and `clipHigh` are epsilons: a ratio may fall to 1 − clipLow and rise to 1 + clipHigh. */
export interface PolicyOptions {
  readonly clipLow: number;
  readonly clipHigh: number;
  /** Bound c of the dual clip for negative advantages; null switches it off. */
  readonly dualClip: number | null;
  /** Weight of the k3 KL to the reference. */
  readonly klCoef: number;
  /** Use the learner's own log-probabilities as π_old (exactly on-policy updates: ratio 1). */
  readonly onPolicy: boolean;
}

/** A loss that GRPO's step can be taken with. */
export interface PolicyLoss extends LossKind<PolicyOptions> {
  /** What its authors set, where it differs from `grpo`: fills in what a recipe leaves out. */
  readonly preset: {
    readonly clipLow: number;
    readonly clipHigh: number;
    readonly dualClip: number | null;
    readonly aggregation: "tokenMean" | "sequenceMean";
  };
  /** Options that it has no use for: a recipe that sets one is refused. */
  readonly unused: readonly "dualClip"[];
}

/** The policy term of one token before importance and weight, and its derivative by the log-ratio. */
export interface Term {
  readonly loss: number;
  readonly slope: number;
  readonly clipped: boolean;
}

/** Bound on |log ratio| and |log π_ref − log π| before they are exponentiated. */
const MAX_EXPONENT = 20;
/** Bound on the k3 estimate of one token. */
const MAX_KL = 10;

/** exp of a log-ratio within its bound, and whether the bound was met: nothing can be learned there. */
export function ratioOf(logRatio: number): { ratio: number; bounded: boolean } {
  return { ratio: Math.exp(bound(logRatio)), bounded: Math.abs(logRatio) > MAX_EXPONENT };
}

/**
 * max(−Aρ, −A·clip(ρ)), at most −A·c for A < 0 (dual clip), with ρ = exp(log-ratio); the slope is 0
 * where it was cut.
 */
export function surrogate(logRatio: number, advantage: number, options: PolicyOptions): Term {
  const { clipLow, clipHigh, dualClip } = options;
  const { ratio, bounded } = ratioOf(logRatio);
  const plain = -advantage * ratio;
  const cut = -advantage * Math.min(Math.max(ratio, 1 - clipLow), 1 + clipHigh);
  const isDual = dualClip !== null && advantage < 0 && Math.max(plain, cut) > -advantage * dualClip;
  const loss = isDual ? -advantage * dualClip : Math.max(plain, cut);
  const clipped = isDual || cut > plain;
  return { loss, slope: clipped || bounded ? 0 : plain, clipped };
}

/**
 * klCoef · min(exp(d) − d − 1, 10) with d = log π_ref − log π, its derivative by log π, and the
 * estimate itself.
 */
export function klTerm(
  logprob: number,
  refLogprob: number,
  klCoef: number,
): { loss: number; slope: number; estimate: number } {
  const distance = refLogprob - logprob;
  const { ratio, bounded } = ratioOf(distance);
  const whole = ratio - bound(distance) - 1;
  const estimate = Math.min(whole, MAX_KL);
  const slope = whole < MAX_KL && !bounded ? klCoef * (1 - ratio) : 0;
  return { loss: klCoef * estimate, slope, estimate };
}

/** log π − log π_old at position t. */
export function logRatioAt(
  logprobs_T: ArrayLike<number>,
  { oldLogprobs }: Datum,
  t: number,
  { onPolicy }: PolicyOptions,
): number {
  return onPolicy ? 0 : logprobs_T[t] - oldLogprobs![t];
}

/** What every policy loss reads of a datum. */
export function policyNeeds({ onPolicy, klCoef }: PolicyOptions) {
  return [
    "advantages" as const,
    ...(onPolicy ? [] : ["oldLogprobs" as const]),
    ...(klCoef > 0 ? ["refLogprobs" as const] : []),
  ];
}

/**
 * Sums policy terms and KL over the scored tokens. `termOf(t, scored)` gives the loss of a token and
 * its derivative by that token's own log-probability.
 */
export function sumTokens(
  logprobs_T: ArrayLike<number>,
  datum: Datum,
  { klCoef }: PolicyOptions,
  termOf: (t: number) => Term,
): DatumLoss {
  const { weights, importance, refLogprobs } = datum;
  const scored = scoredPositions(datum);
  const gradient_T = new Float64Array(weights.length);
  let loss = 0;
  let numClipped = 0;
  let kl = 0;
  for (const t of scored) {
    const term = termOf(t);
    const correction = importance === undefined ? 1 : importance[t];
    let value = correction * term.loss;
    let slope = correction * term.slope;
    if (klCoef > 0) {
      const toReference = klTerm(logprobs_T[t], refLogprobs![t], klCoef);
      value += toReference.loss;
      slope += toReference.slope;
      kl += toReference.estimate;
    }
    loss += weights[t] * value;
    gradient_T[t] = weights[t] * slope;
    if (term.clipped) numClipped++;
  }
  return { loss, gradient_T, stats: { numTokens: scored.length, numClipped, kl } };
}

function bound(exponent: number): number {
  return Math.min(Math.max(exponent, -MAX_EXPONENT), MAX_EXPONENT);
}
