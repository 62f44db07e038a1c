/** Whether the answer is right. */
import { judge } from "../judge.ts";
import { actionMatch } from "../kinds/action.ts";
import { publishedAccuracy } from "./published.ts";
import type { RewardTerm } from "./term.ts";

export const answer: RewardTerm = {
  about: "whether the answer is right",
  ours: (episode, record) =>
    episode.judged ?? judge(record, episode.answer, { view: episode.view }),
  /** Actions earn half for the right type and half for the right argument, an id or a text. */
  paper: (episode, record) => {
    if (episode.judged !== undefined) return episode.judged;
    if (record.kind !== "action" || typeof record.answer !== "string" || episode.answer === null)
      return judge(record, episode.answer, { view: episode.view });
    const { verb, same } = actionMatch(episode.answer, record.answer);
    return 0.5 * Number(verb) + 0.5 * Number(same);
  },
  repo: (episode, record) => episode.judged ?? publishedAccuracy(episode, record),
};
