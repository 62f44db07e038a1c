/**
 * Losses and gradients by the logits against the papers' formulas in float64 (the fixture's script is
 * scripts/fixtures/policy_losses.py), at temperatures 0.7 and 1.
 *
 * Axes: N sequences, T tokens, V words.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { wide } from "../engine/losses/fixtures/one-token.ts";
import { policyLosses } from "../engine/losses/table.ts";
import { aggregationWeights, type Aggregation } from "./aggregation.ts";

const row = z.array(z.number());
const fixtureSchema = z.object({
  lengths: row,
  maxLength: z.number(),
  tokens: z.array(row),
  logits: z.array(z.array(row)),
  advantages: row,
  cases: z.array(
    z.object({
      name: z.enum(["grpo", "dapo", "drGrpo", "gspo", "cispo"]),
      temperature: z.number(),
      clipLow: z.number(),
      clipHigh: z.number(),
      klCoef: z.number(),
      oldLogprobs: z.array(row),
      refLogprobs: z.array(row),
      loss: z.number(),
      gradient: z.array(z.array(row)),
    }),
  ),
});
const file = join(import.meta.dirname, "fixtures/policy-losses.json");
const { cases, ...shared } = fixtureSchema.parse(JSON.parse(await readFile(file, "utf8")));

const kinds: Record<string, [keyof typeof policyLosses, Aggregation]> = {
  grpo: ["grpo", { kind: "sequenceMean" }],
  dapo: ["grpo", { kind: "tokenMean" }],
  drGrpo: ["grpo", { kind: "constantLength", length: shared.maxLength }],
  gspo: ["gspo", { kind: "sequenceMean" }],
  cispo: ["cispo", { kind: "tokenMean" }],
};

/** Shares of all words at a temperature. */
function softmax(logits: readonly number[], temperature: number): number[] {
  const top = Math.max(...logits);
  const weights = logits.map((x) => Math.exp((x - top) / temperature));
  const total = weights.reduce((sum, x) => sum + x, 0);
  return weights.map((x) => x / total);
}

test.each(cases)(
  "$name at temperature $temperature, KL $klCoef, is its paper's",
  ({ name, temperature, loss, gradient, oldLogprobs, refLogprobs, ...options }) => {
    const { tokens, logits, lengths, advantages } = shared;
    const [kind, aggregation] = kinds[name];
    const masks = tokens.map((row_T, n) => row_T.map((_, t) => (t < lengths[n] ? 1 : 0)));
    const weights_N = aggregationWeights(masks, aggregation);
    let sum = 0;
    for (const n of tokens.keys()) {
      const shares_T = logits[n].map((logits_V) => softmax(logits_V, temperature));
      const logprobs_T = shares_T.map((shares_V, t) => Math.log(shares_V[tokens[n][t]]));
      const datum = {
        chunks: [],
        weights: weights_N[n],
        oldLogprobs: wide(oldLogprobs[n]),
        refLogprobs: wide(refLogprobs[n]),
        advantages: wide(masks[n].map(() => advantages[n])),
      };
      const all = { ...options, dualClip: null, onPolicy: false };
      const found = policyLosses[kind].of(logprobs_T, datum, all);
      sum += found.loss;
      for (const [t, shares_V] of shares_T.entries())
        for (const [v, share] of shares_V.entries()) {
          const slope = ((tokens[n][t] === v ? 1 : 0) - share) / temperature;
          const error = found.gradient_T[t] * slope - gradient[n][t][v];
          expect(Math.abs(error)).toBeLessThan(1e-6);
        }
    }
    expect(Math.abs(sum - loss)).toBeLessThan(1e-6);
  },
);
