/**
 * What a loss is on our side of the seam: a pure function of all log-probabilities of one datum. It
 * returns the loss and its derivative by each of them; the learner hands the derivative to autograd,
 * so what is tested here in plain numbers is what trains.
 *
 * Axes: T positions of the datum. Scored are those whose weight is not 0; everything else is 0.
 */
import type { Datum } from "../types.ts";

export interface DatumLoss {
  /** Σ_t weight_t · loss_t. */
  readonly loss: number;
  /** d loss / d logprob_t, weights included; 0 where nothing is scored. */
  readonly gradient_T: Float64Array;
  readonly stats: LossStats;
}

/** Sums over the scored tokens of a datum. */
export interface LossStats {
  readonly numTokens: number;
  /** Tokens whose policy term was cut, by its own ratio or that of its sequence. */
  readonly numClipped: number;
  /** Σ of the k3 estimates of the KL to the reference; 0 where the loss has none. */
  readonly kl: number;
}

/** Arrays of a datum that a loss may need beside its weights. */
export type DatumArray = "oldLogprobs" | "refLogprobs" | "advantages" | "importance";

/** A loss of the table. `O`: its options, as they cross the seam beside its name. */
export interface LossKind<O> {
  /** Log-probabilities at the temperature of the datum; read only where its weight is not 0. */
  of(logprobs_T: ArrayLike<number>, datum: Datum, options: O): DatumLoss;
  /** The arrays without which `of` cannot be called. */
  needs(options: O): readonly DatumArray[];
}

/** Positions that are scored. */
export function scoredPositions({ weights }: Pick<Datum, "weights">): number[] {
  const positions: number[] = [];
  for (let t = 0; t < weights.length; t++) if (weights[t] !== 0) positions.push(t);
  return positions;
}
