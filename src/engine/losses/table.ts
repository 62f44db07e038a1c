/**
 * The losses of the seam by name. A new one is a file beside this one and a line below: recipes,
 * presets, checks and the learner read the table.
 */
import { VigorlError } from "../../core/errors.ts";
import type { Datum } from "../types.ts";
import { cispo } from "./cispo.ts";
import { crossEntropy } from "./cross-entropy.ts";
import type { DatumArray, DatumLoss } from "./datum-loss.ts";
import { grpo } from "./grpo.ts";
import { gspo } from "./gspo.ts";
import type { PolicyLoss, PolicyOptions } from "./policy.ts";

/** What `rl.loss` chooses from. */
export const policyLosses = { grpo, gspo, cispo } as const satisfies Record<string, PolicyLoss>;

export type PolicyLossName = keyof typeof policyLosses;

/** A loss as plain data: what crosses from the caller to the worker. */
export type Loss =
  { readonly kind: "crossEntropy" } | ({ readonly kind: PolicyLossName } & PolicyOptions);

/**
 * The loss of one datum and its derivatives.
 * @throws VigorlError("numerics") where they are not finite, naming datum `index` and the token
 */
export function datumLoss(
  loss: Loss,
  logprobs_T: ArrayLike<number>,
  datum: Datum,
  index: number,
): DatumLoss {
  const result =
    loss.kind === "crossEntropy"
      ? crossEntropy.of(logprobs_T, datum, loss)
      : policyLosses[loss.kind].of(logprobs_T, datum, loss);
  const bad = result.gradient_T.findIndex((slope) => !Number.isFinite(slope));
  if (bad < 0 && Number.isFinite(result.loss)) return result;
  const what =
    bad < 0 ? `the loss is ${result.loss}` : `its derivative at token ${bad} is not finite`;
  throw new VigorlError("numerics", `datum ${index}: ${what}`, {
    hint: "lower the learning rate, or look at the log-probabilities of this datum",
  });
}

/**
 * Checks that a datum has what the loss needs, each array of length `length` (positions of its
 * chunks). Throws VigorlError("numerics") that names the datum.
 */
export function checkDatum(
  datum: Datum,
  index: number | string,
  length: number,
  loss?: Loss,
): void {
  const name = typeof index === "number" ? `datum ${index}` : index;
  const needs: readonly DatumArray[] =
    loss === undefined || loss.kind === "crossEntropy" ? [] : policyLosses[loss.kind].needs(loss);
  const { weights, oldLogprobs, refLogprobs, advantages, importance } = datum;
  const arrays = { weights, oldLogprobs, refLogprobs, advantages, importance };
  for (const [key, array] of Object.entries(arrays)) {
    if (array === undefined && key !== "weights" && !needs.includes(key as DatumArray)) continue;
    if (array?.length !== length)
      throw new VigorlError(
        "numerics",
        `${name}: ${key} must have one entry for each of its ${length} positions ` +
          `(got ${array === undefined ? "none" : array.length})`,
      );
    const bad = array.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw new VigorlError("numerics", `${name}: ${key}[${bad}] is ${array[bad]}`);
  }
  if (weights[0] !== 0)
    throw new VigorlError("numerics", `${name}: nothing predicts its first token`, {
      hint: "set weights[0] to 0",
    });
  const { temperature = 1 } = datum;
  if (!(temperature > 0 && Number.isFinite(temperature)))
    throw new VigorlError("numerics", `${name}: temperature must be > 0 (got ${temperature})`, {
      hint: "the log-probabilities of greedy samples are those of temperature 1",
    });
}
