/** Whether the tags are right and thoughts name valid points. */
import { acceptsDialogue } from "../../text/structure.ts";
import { isPublishedForm } from "./published.ts";
import type { RewardTerm, Scored } from "./term.ts";

export const format: RewardTerm = {
  about: "whether tags are right and thoughts name valid points",
  ours: (episode, _, { grounded }) =>
    Number(
      episode.wellFormed &&
        (!grounded || (isValid(episode) && episode.toolUses.every((use) => use.fault === null))),
    ),
  /**
   * Multi-turn, the tag automaton alone (§4.3.1). Single-turn, every coordinate must be valid, too,
   * which the paper does not define: inside the image, with at least one.
   */
  paper: (episode, _, { grounded }) =>
    Number(
      episode.tools.length > 0
        ? acceptsDialogue(episode.response)
        : episode.wellFormed && (!grounded || isValid(episode)),
    ),
  repo: (episode, record, form) => Number(isPublishedForm(episode, record, form)),
};

/** At least one point, all in the image. */
function isValid({ points }: Scored): boolean {
  return points.length > 0 && points.every((point) => point.inImage);
}
