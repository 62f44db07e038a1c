/**
 * What a part of the reward is. One file a term; `../reward.ts` is their table, from which the names
 * of weights and of metrics follow. A term says what it measures; what that is worth, a profile says.
 */
import type { Asked } from "../kinds.ts";
import type { Trajectory } from "../trajectory.ts";

/** What a reward looks at. */
export type Scored = Pick<
  Trajectory,
  | "response"
  | "answer"
  | "judged"
  | "points"
  | "toolUses"
  | "turns"
  | "wellFormed"
  | "tools"
  | "view"
>;

/** What form asks for. */
export interface FormRules {
  /** Thoughts must name points. */
  readonly grounded: boolean;
  /** Places nearer than this count as one. */
  readonly minDistancePx: number;
  /** How many distinct places are paid for at most. */
  readonly distinctMax: number;
}

/** Measures an episode: 0 to 1, or a count. Pure. */
export type RewardRule = (episode: Scored, record: Asked, form: FormRules) => number;

export interface RewardTerm {
  /** A phrase for the table of metrics. */
  readonly about: string;
  readonly ours: RewardRule;
  /** The paper's rule and its repository's, where they are not ours. */
  readonly paper?: RewardRule;
  readonly repo?: RewardRule;
  /** Our rule gives a wrong answer nothing. */
  readonly onlyRight?: true;
}
