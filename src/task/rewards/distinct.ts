/** How many distinct places were looked at. */
import { countDistinct } from "../../text/points.ts";
import { acceptsDialogue } from "../../text/structure.ts";
import { placesLookedAt } from "../trajectory.ts";
import { answer } from "./answer.ts";
import { isPublishedForm, publishedCalls } from "./published.ts";
import type { FormRules, RewardTerm, Scored } from "./term.ts";

export const distinct: RewardTerm = {
  about: "distinct places looked at, as far as they are paid for",
  onlyRight: true,
  ours: (episode, record, form) =>
    answer.ours(episode, record, form) === 1
      ? Math.min(placesSeen(episode, form), form.distinctMax)
      : 0,
  /** At most four, under the right order of tags, whatever the answer is (§4.3.1, A5.3). */
  paper: (episode, _, form) =>
    acceptsDialogue(episode.response) ? Math.min(4, placesSeen(episode, form)) : 0,
  /** From the second on, as the calls are written, without a cap and whatever the answer is. */
  repo: (episode, record, form) => {
    const calls = isPublishedForm(episode, record, form) ? publishedCalls(episode.response) : null;
    return calls === null ? 0 : Math.max(0, countDistinct(calls, form.minDistancePx) - 1);
  },
};

function placesSeen(episode: Scored, { minDistancePx }: FormRules): number {
  return countDistinct(placesLookedAt(episode), minDistancePx);
}
