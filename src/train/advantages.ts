/**
 * Group-relative advantages (GRPO, Shao et al. 2024; Dr. GRPO, Liu et al. 2025, for the centred
 * kind). The answers to one prompt are each other's baseline: no value model.
 *
 * Axes: G members of a group. Left out: per-turn and discounted advantages; every token of an
 * episode gets the same one.
 */
import { VigorlError } from "../core/errors.ts";

/** `centred`: r − mean. `normalised`: (r − mean) / (std + 1e-6), std unbiased. */
export type AdvantageKind = "centred" | "normalised";

/**
 * Advantages of one group, in the order of `rewards_G`. Members that are not `included_G` get 0 and
 * do not count in mean and std. A group with fewer than two included members has no baseline and
 * gets zeros. Throws VigorlError("numerics") on a reward that is not finite.
 */
export function groupAdvantages(
  rewards_G: readonly number[],
  kind: AdvantageKind,
  included_G: readonly boolean[] = rewards_G.map(() => true),
): number[] {
  const bad = rewards_G.findIndex((reward) => !Number.isFinite(reward));
  if (bad >= 0) throw new VigorlError("numerics", `reward ${bad} of a group is ${rewards_G[bad]}`);
  const counted = rewards_G.filter((_, member) => included_G[member]);
  if (counted.length < 2) return rewards_G.map(() => 0);
  const mean = counted.reduce((sum, reward) => sum + reward, 0) / counted.length;
  const variance =
    counted.reduce((sum, reward) => sum + (reward - mean) ** 2, 0) / (counted.length - 1);
  const scale = kind === "normalised" ? 1 / (Math.sqrt(variance) + 1e-6) : 1;
  return rewards_G.map((reward, member) => (included_G[member] ? (reward - mean) * scale : 0));
}

/** True where all included rewards are the same, so that the group teaches nothing. */
export function isZeroVariance(
  rewards_G: readonly number[],
  included_G: readonly boolean[] = rewards_G.map(() => true),
): boolean {
  const counted = rewards_G.filter((_, member) => included_G[member]);
  if (counted.length < 2) return true;
  return Math.max(...counted) - Math.min(...counted) < 1e-9;
}
