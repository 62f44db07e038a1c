/**
 * Importance correction for tokens that other weights, or another engine, sampled: the ratio
 * π_now / π_sampled, truncated (truncated importance sampling, Ionides 2008). It scales the policy
 * term of the loss and never the KL. Arrays over T tokens.
 */

/** min(cap, exp(now − sampled)) where the mask is not 0, and 1 elsewhere. */
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
