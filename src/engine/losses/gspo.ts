/**
 * GSPO (Zheng et al. 2025, arXiv:2507.18071): one ratio a sequence, the geometric mean of its tokens'
 * ratios, s = exp(1/|y| Σ_t (log π_t − log π_old,t)), clipped as a whole. |y| counts the tokens that
 * are scored, over all turns of an episode. Every token's log-probability moves s by 1/|y|.
 */
import { scoredPositions } from "./datum-loss.ts";
import { logRatioAt, policyNeeds, sumTokens, surrogate, type PolicyLoss } from "./policy.ts";

export const gspo: PolicyLoss = {
  preset: { clipLow: 3e-4, clipHigh: 4e-4, dualClip: null, aggregation: "sequenceMean" },
  unused: [],
  needs: policyNeeds,
  of(logprobs_T, datum, options) {
    const { weights, importance } = datum;
    const scored = scoredPositions(datum);
    const logRatios = scored.map((t) => logRatioAt(logprobs_T, datum, t, options));
    const logRatio = logRatios.reduce((sum, one) => sum + one, 0) / Math.max(1, scored.length);
    const termAt = (t: number) => surrogate(logRatio, datum.advantages![t], options);
    const slope = scored.reduce((sum, t) => {
      return sum + weights[t] * (importance === undefined ? 1 : importance[t]) * termAt(t).slope;
    }, 0);
    // The KL has a slope of its own at each token; that of the ratio is the same at all of them.
    const summed = sumTokens(logprobs_T, datum, options, (t) => ({ ...termAt(t), slope: 0 }));
    for (const t of scored) summed.gradient_T[t] += slope / scored.length;
    return summed;
  },
};
