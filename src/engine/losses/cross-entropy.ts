/** Cross-entropy: −log π of every scored token. */
import { scoredPositions, type LossKind } from "./datum-loss.ts";

export const crossEntropy: LossKind<object> = {
  needs: () => [],
  of(logprobs_T, datum) {
    const { weights } = datum;
    const scored = scoredPositions(datum);
    const gradient_T = new Float64Array(weights.length);
    let loss = 0;
    for (const t of scored) {
      loss -= weights[t] * logprobs_T[t];
      gradient_T[t] = -weights[t];
    }
    return { loss, gradient_T, stats: { numTokens: scored.length, numClipped: 0, kl: 0 } };
  },
};
