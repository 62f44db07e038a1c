/**
 * The rewards as the paper states them (§4.3, A5.2, A5.3 in its numbering; spec §6.3–§6.6).
 * Single-turn: half for the answer, half for form, which asks that the tags are right and every
 * coordinate is valid. Multi-turn: form is the tag automaton plus 0.2 for each place at least 10 px
 * from all before, at most four times.
 * differs: the paper names no weights and does not define a valid coordinate; weights are the
 * repository's (0.5/0.5 and 0.6/0.4), valid means inside the image, with at least one point.
 */
import { countDistinct } from "../text/points.ts";
import { acceptsStructure } from "../text/structure.ts";
import { judge } from "./judge.ts";
import { actionMatch } from "./kinds/action.ts";
import type { TaskRecord } from "./record.ts";
import { reward, type FormRules, type Reward, type Scored } from "./reward-terms.ts";

export function paperReward(episode: Scored, record: TaskRecord, rules: FormRules): Reward {
  const accuracy = paperAccuracy(episode, record);
  if (episode.canZoom) {
    const grammar = Number(acceptsStructure(episode.response));
    const places = countDistinct(
      episode.zooms.map((zoom) => zoom.at),
      rules.minDistancePx,
    );
    return reward(accuracy, {
      answer: 0.6 * accuracy,
      format: 0.4 * grammar,
      distinct: 0.4 * grammar * 0.2 * Math.min(4, places),
    });
  }
  const valid = episode.points.length > 0 && episode.points.every((point) => point.inImage);
  const inForm = episode.wellFormed && (!rules.grounded || valid);
  return reward(accuracy, { answer: 0.5 * accuracy, format: inForm ? 0.5 : 0, distinct: 0 });
}

/** Actions earn half for the right type and half for the right argument, an id or a text. */
function paperAccuracy({ answer, view }: Scored, record: TaskRecord): number {
  if (record.kind !== "action" || typeof record.answer !== "string" || answer === null)
    return judge(record, answer, { view });
  const { verb, same } = actionMatch(answer, record.answer);
  return 0.5 * Number(verb) + 0.5 * Number(same);
}
