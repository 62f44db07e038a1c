/**
 * The GRPO loss of one token in plain numbers: the law that the engine's tensor version is tested
 * against, and the place to read what is optimised. Clipped ratio (PPO) with separate bounds
 * (clip-higher, DAPO), dual clip for negative advantages (Ye et al. 2020), k3 KL to the reference
 * (Schulman 2020) added to the loss and not to the reward.
 */
import type { Loss } from "../engine/types.ts";

export type GrpoLoss = Extract<Loss, { kind: "grpo" }>;

export interface TokenTerms {
  /** log π_θ of the token, natural logarithm at temperature 1; so are the other two. */
  readonly logprob: number;
  readonly oldLogprob: number;
  readonly refLogprob: number;
  readonly advantage: number;
  /** Truncated importance correction of stale samples; scales the policy term only. */
  readonly importance: number;
}

export interface TokenLoss {
  /** importance · policy term + klCoef · kl. */
  readonly loss: number;
  /** ∂loss / ∂logprob. */
  readonly gradient: number;
  /** The clip decided the policy term, so that it has no gradient. */
  readonly clipped: boolean;
  /** k3 estimate of KL(π_θ ‖ π_ref), in nats, in [0, 10]. */
  readonly kl: number;
}

/** Log-ratio to the reference is bounded before `exp`, and the estimate after it. */
export const maxLogRatio = 20;
export const maxKl = 10;

/** Loss of one token, before its aggregation weight. */
export function grpoTokenLoss(terms: TokenTerms, settings: GrpoLoss): TokenLoss {
  const { logprob, refLogprob, advantage, importance } = terms;
  const oldLogprob = settings.onPolicy ? logprob : terms.oldLogprob;
  const ratio = Math.exp(logprob - oldLogprob);
  const bounded = Math.min(Math.max(ratio, 1 - settings.clipLow), 1 + settings.clipHigh);
  let policy = Math.max(-advantage * ratio, -advantage * bounded);
  let clipped = -advantage * bounded > -advantage * ratio;
  if (advantage < 0 && settings.dualClip !== null && policy > -advantage * settings.dualClip) {
    policy = -advantage * settings.dualClip;
    clipped = true;
  }
  const { kl, gradient } = settings.klCoef > 0 ? k3(logprob, refLogprob) : { kl: 0, gradient: 0 };
  return {
    loss: importance * policy + settings.klCoef * kl,
    gradient: (clipped ? 0 : -importance * advantage * ratio) + settings.klCoef * gradient,
    clipped,
    kl,
  };
}

/** k3 estimator exp(d) − d − 1 with d = log π_ref − log π_θ, and its derivative by log π_θ. */
export function k3(logprob: number, refLogprob: number): { kl: number; gradient: number } {
  const d = refLogprob - logprob;
  const bounded = Math.min(Math.max(d, -maxLogRatio), maxLogRatio);
  const kl = Math.exp(bounded) - bounded - 1;
  if (kl > maxKl) return { kl: maxKl, gradient: 0 };
  return { kl, gradient: 1 - Math.exp(d) };
}

/**
 * Importance correction of tokens that other weights (or another engine) sampled: π_now / π_sampled,
 * truncated at `cap` (truncated importance sampling). Arrays over T; 1 where the mask is 0.
 */
export function importanceWeights(
  nowLogprobs_T: ArrayLike<number>,
  sampledLogprobs_T: ArrayLike<number>,
  mask_T: ArrayLike<number>,
  cap: number,
): Float32Array {
  return Float32Array.from(mask_T, (one, t) =>
    one === 0 ? 1 : Math.min(cap, Math.exp(nowLogprobs_T[t] - sampledLogprobs_T[t])),
  );
}
