/**
 * CISPO (MiniMax-M1, arXiv:2506.13585): −sg(clip(ρ)) · A · log π. The ratio is a constant factor that
 * is clipped, so no token falls out of the gradient. The paper leaves the lower side open and does not
 * print its upper bound; a ratio of at most 5 is what ScaleRL (arXiv:2510.13786) settles on.
 */
import { logRatioAt, policyNeeds, ratioOf, sumTokens, type PolicyLoss } from "./policy.ts";

export const cispo: PolicyLoss = {
  preset: { clipLow: 1, clipHigh: 4, dualClip: null, aggregation: "tokenMean" },
  unused: ["dualClip"],
  needs: policyNeeds,
  of: (logprobs_T, datum, options) =>
    sumTokens(logprobs_T, datum, options, (t) => {
      const { ratio } = ratioOf(logRatioAt(logprobs_T, datum, t, options));
      const factor = Math.min(Math.max(ratio, 1 - options.clipLow), 1 + options.clipHigh);
      const slope = -factor * datum.advantages![t];
      return { loss: slope * logprobs_T[t], slope, clipped: factor !== ratio };
    }),
};
