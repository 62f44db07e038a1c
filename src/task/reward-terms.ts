/**
 * What all reward profiles share: what they look at, and the form of what they say.
 */
import type { Trajectory } from "./trajectory.ts";

/** What a reward looks at. */
export type Scored = Pick<
  Trajectory,
  "response" | "answer" | "points" | "zooms" | "turns" | "wellFormed" | "canZoom" | "view"
>;

/** What form asks for. */
export interface FormRules {
  /** Thoughts must name points. */
  readonly grounded: boolean;
  /** Places nearer than this count as one. */
  readonly minDistancePx: number;
}

export interface Reward {
  /** The sum of `terms`. */
  readonly total: number;
  /** Whether the answer is right, 0 to 1, by the profile's own rule. */
  readonly accuracy: number;
  /** What each part contributes. */
  readonly terms: Readonly<Record<"answer" | "format" | "distinct", number>>;
}

/** Adds up the terms. */
export function reward(accuracy: number, terms: Reward["terms"]): Reward {
  return { total: terms.answer + terms.format + terms.distinct, accuracy, terms };
}
