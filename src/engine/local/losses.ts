/**
 * The losses of the seam as plain numbers: from the log-probability of each token to the loss and its
 * derivative by that log-probability. The learner hands the derivative to autograd, so what is tested
 * here by hand is what trains.
 *
 * Sources: clipped surrogate of PPO (Schulman et al. 2017) with separate bounds (DAPO's clip-higher),
 * dual clip (Ye et al. 2020), k3 estimator of the KL (Schulman 2020); bounds on exponents and on the
 * estimator as in EasyR1.
 */
import { VigorlError } from "../../core/errors.ts";
import type { Datum, Loss } from "../types.ts";

/** One token's share: Σ over tokens is the loss, `gradient` is d loss / d logprob, weight included. */
export interface TokenLoss {
  readonly loss: number;
  readonly gradient: number;
  /** The ratio was clipped (or dual-clipped): the policy term gives no gradient. */
  readonly clipped: boolean;
  /** k3 estimate of the KL to the reference; 0 where the loss has none. */
  readonly kl: number;
}

type Grpo = Extract<Loss, { kind: "grpo" }>;

/** Numbers that GRPO needs for one token beside the policy's own log-probability. */
export interface GrpoToken {
  readonly oldLogprob: number;
  /** Ignored where klCoef is 0. */
  readonly refLogprob: number;
  readonly advantage: number;
  readonly importance: number;
}

/** Bound on |log ratio| and |log π_ref − log π| before they are exponentiated. */
const MAX_EXPONENT = 20;
/** Bound on the k3 estimate of one token. */
const MAX_KL = 10;

/** Loss of token `t` of a datum under the policy's `logprob`, weighted. Checks nothing: see `checkDatum`. */
export function tokenLoss(loss: Loss, datum: Datum, t: number, logprob: number): TokenLoss {
  const weight = datum.weights[t];
  if (loss.kind === "crossEntropy")
    return { loss: -weight * logprob, gradient: -weight, clipped: false, kl: 0 };
  const token = grpoToken(loss, logprob, {
    oldLogprob: loss.onPolicy ? logprob : datum.oldLogprobs![t],
    refLogprob: loss.klCoef > 0 ? datum.refLogprobs![t] : logprob,
    advantage: datum.advantages![t],
    importance: datum.importance === undefined ? 1 : datum.importance[t],
  });
  return { ...token, loss: weight * token.loss, gradient: weight * token.gradient };
}

/**
 * GRPO for one token, unweighted: importance · max(−Aρ, −A·clip(ρ)) with ρ = π/π_old, at most −A·c for
 * A < 0 (dual clip), plus klCoef · min(exp(d) − d − 1, 10) with d = log π_ref − log π.
 */
export function grpoToken(loss: Grpo, logprob: number, token: GrpoToken): TokenLoss {
  const { advantage } = token;
  const logRatio = logprob - token.oldLogprob;
  const ratio = Math.exp(bound(logRatio));
  const plain = -advantage * ratio;
  const clippedRatio = Math.min(Math.max(ratio, 1 - loss.clipLow), 1 + loss.clipHigh);
  const cut = -advantage * clippedRatio;
  let policy = Math.max(plain, cut);
  let clipped = cut > plain;
  if (loss.dualClip !== null && advantage < 0 && policy > -advantage * loss.dualClip) {
    policy = -advantage * loss.dualClip;
    clipped = true;
  }
  let gradient = clipped || Math.abs(logRatio) > MAX_EXPONENT ? 0 : token.importance * plain;
  let kl = 0;
  if (loss.klCoef > 0) {
    const distance = token.refLogprob - logprob;
    const ratioToRef = Math.exp(bound(distance));
    const estimate = ratioToRef - bound(distance) - 1;
    kl = Math.min(estimate, MAX_KL);
    if (estimate < MAX_KL && Math.abs(distance) <= MAX_EXPONENT)
      gradient += loss.klCoef * (1 - ratioToRef);
  }
  return { loss: token.importance * policy + loss.klCoef * kl, gradient, clipped, kl };
}

/**
 * Checks that a datum has what the loss needs, each array of length `length` (positions of its
 * chunks). Throws VigorlError("numerics") that names the datum.
 */
export function checkDatum(datum: Datum, index: number, length: number, loss?: Loss): void {
  const arrays: [string, Float32Array | undefined, boolean][] = [
    ["weights", datum.weights, true],
    ["oldLogprobs", datum.oldLogprobs, loss?.kind === "grpo" && !loss.onPolicy],
    ["refLogprobs", datum.refLogprobs, loss?.kind === "grpo" && loss.klCoef > 0],
    ["advantages", datum.advantages, loss?.kind === "grpo"],
    ["importance", datum.importance, false],
  ];
  for (const [name, array, needed] of arrays) {
    if (array === undefined && !needed) continue;
    if (array?.length !== length)
      throw new VigorlError(
        "numerics",
        `datum ${index}: ${name} must have one entry for each of its ${length} positions ` +
          `(got ${array === undefined ? "none" : array.length})`,
      );
  }
  if (datum.weights[0] !== 0)
    throw new VigorlError("numerics", `datum ${index}: nothing predicts its first token`, {
      hint: "set weights[0] to 0",
    });
}

function bound(exponent: number): number {
  return Math.min(Math.max(exponent, -MAX_EXPONENT), MAX_EXPONENT);
}
