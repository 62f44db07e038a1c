/**
 * How token losses become one number. The choice is folded into the weight of each token before
 * the data cross the engine's seam, so that the engine only ever sums and the cut into
 * micro-batches changes nothing.
 *
 * Axes: N sequences, T tokens. Lengths count trained tokens (mask 1), not prompts or observations.
 */
import { VigorlError } from "../core/errors.ts";

/**
 * - `tokenMean`: every token counts the same (DAPO).
 * - `sequenceMean`: every sequence counts the same, whatever its length (GRPO).
 * - `constantLength`: sum over tokens ÷ (N · length), no length bias (Dr. GRPO).
 * - `microBatchMean`: token mean within each micro-batch of `microBatch` sequences in their order,
 *   then the mean of those, as EasyR1 does. differs: a token's weight depends on its neighbours.
 */
export type Aggregation =
  | { readonly kind: "tokenMean" }
  | { readonly kind: "sequenceMean" }
  | { readonly kind: "constantLength"; readonly length: number }
  | { readonly kind: "microBatchMean"; readonly microBatch: number };

/**
 * Weights of every token, per sequence as long as its mask; 0 where the mask is 0. Sequences
 * without a trained token do not count in N. Throws VigorlError("numerics") where nothing is left.
 */
export function aggregationWeights(
  masks_N_T: readonly ArrayLike<number>[],
  aggregation: Aggregation,
): Float32Array[] {
  const lengths_N = masks_N_T.map(countOnes);
  const numTokens = lengths_N.reduce((sum, length) => sum + length, 0);
  if (numTokens === 0) {
    throw new VigorlError("numerics", "empty batch: no token of it is to be trained", {
      hint: "check that answers are not all cut off or masked",
    });
  }
  const numSequences = lengths_N.filter((length) => length > 0).length;
  const perToken_N = lengths_N.map((length, n) => {
    switch (aggregation.kind) {
      case "tokenMean":
        return 1 / numTokens;
      case "sequenceMean":
        return 1 / (numSequences * length);
      case "constantLength":
        return 1 / (numSequences * aggregation.length);
      case "microBatchMean": {
        const { microBatch } = aggregation;
        const start = n - (n % microBatch);
        const inBatch = lengths_N.slice(start, start + microBatch).reduce((a, b) => a + b, 0);
        return 1 / (inBatch * Math.ceil(masks_N_T.length / microBatch));
      }
    }
  });
  return masks_N_T.map((mask_T, n) =>
    Float32Array.from(mask_T, (one) => (one === 0 ? 0 : perToken_N[n])),
  );
}

function countOnes(mask_T: ArrayLike<number>): number {
  let count = 0;
  for (let t = 0; t < mask_T.length; t++) if (mask_T[t] !== 0) count++;
  return count;
}
