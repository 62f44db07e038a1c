/**
 * Token ratios: GRPO (Shao et al. 2024, arXiv:2402.03300), DAPO (arXiv:2503.14476) and Dr. GRPO
 * (arXiv:2503.20783), which differ in clip bounds, KL and in how the weights average the tokens.
 */
import { logRatioAt, policyNeeds, sumTokens, surrogate, type PolicyLoss } from "./policy.ts";

export const grpo: PolicyLoss = {
  preset: { clipLow: 0.2, clipHigh: 0.28, dualClip: 3, aggregation: "tokenMean" },
  unused: [],
  needs: policyNeeds,
  of: (logprobs_T, datum, options) =>
    sumTokens(logprobs_T, datum, options, (t) =>
      surrogate(logRatioAt(logprobs_T, datum, t, options), datum.advantages![t], options),
    ),
};
