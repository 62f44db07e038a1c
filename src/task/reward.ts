/**
 * What an episode is worth. Three profiles. "default", ours: the answer decides, a small term for
 * form and a smaller capped bonus for looking at distinct places in the image, paid only to right
 * answers, so that no wrong answer is ever worth more than a right one. "paper" and "repo" are what
 * was published, each with its faults (`reward-paper.ts`, `reward-repo.ts`). All are pure functions.
 */
import { z } from "zod";
import { countDistinct } from "../text/points.ts";
import { judge } from "./judge.ts";
import type { TaskRecord } from "./record.ts";
import { paperReward } from "./reward-paper.ts";
import { repoReward } from "./reward-repo.ts";
import { reward, type Reward, type Scored } from "./reward-terms.ts";

export const rewardConfigSchema = z.strictObject({
  profile: z
    .enum(["default", "paper", "repo"])
    .default("default")
    .describe("ours, the paper's, or the repository's rules"),
  grounded: z
    .boolean()
    .default(true)
    .describe("thoughts must name points; switch off for models that think without coordinates"),
  formatWeight: z
    .number()
    .nonnegative()
    .lt(0.5)
    .default(0.1)
    .describe(
      "default: what correct form is worth beside an answer's 1; below 0.5, so that it cannot be farmed",
    ),
  distinctBonus: z
    .number()
    .nonnegative()
    .default(0.025)
    .describe("default: paid for each distinct place a right answer zoomed into"),
  distinctMax: z
    .int()
    .nonnegative()
    .default(4)
    .describe("default: how many places are paid for at most"),
  minDistancePx: z
    .number()
    .positive()
    .default(10)
    .describe("places nearer than this count as one; pixels of the image as the model sees it"),
});

export type RewardConfig = z.infer<typeof rewardConfigSchema>;

/** Scores an episode. */
export function scoreEpisode(episode: Scored, record: TaskRecord, config: RewardConfig): Reward {
  switch (config.profile) {
    case "paper":
      return paperReward(episode, record, config);
    case "repo":
      return repoReward(episode, record, config);
    case "default":
      return defaultReward(episode, record, config);
  }
}

function defaultReward(episode: Scored, record: TaskRecord, config: RewardConfig): Reward {
  const accuracy = judge(record, episode.answer, { view: episode.view });
  const inForm = episode.wellFormed && (!config.grounded || isGrounded(episode));
  const places = countDistinct(
    episode.zooms.map((zoom) => zoom.at),
    config.minDistancePx,
  );
  const paid = accuracy === 1 ? Math.min(places, config.distinctMax) : 0;
  return reward(accuracy, {
    answer: accuracy,
    format: inForm ? config.formatWeight : 0,
    distinct: paid * config.distinctBonus,
  });
}

/** At least one point, all in the image, and no tool call that failed. */
function isGrounded({ points, turns }: Scored): boolean {
  return (
    points.length > 0 &&
    points.every((point) => point.inImage) &&
    turns.every((turn) => turn.fault === null)
  );
}
