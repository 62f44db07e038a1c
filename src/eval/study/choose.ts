/**
 * Which sentences people judge: those that name one place, in the picture. Of every question at most so
 * many, drawn by a seed, and shown in two forms: what one form shows with its circle, the other shows with
 * the place hidden, so that nobody sees a sentence twice.
 */
import { stream } from "../../core/random.ts";
import { hashText } from "../../core/files.ts";
import { plainText } from "../../core/plain-text.ts";
import { thoughtSentences, type SentencePoint } from "../../task/sentences.ts";
import type { Trace } from "../../task/trace.ts";
import type { StudyCondition, StudyItem } from "./files.ts";

/** A sentence that names a place. */
export interface GroundedSentence {
  readonly recordId: string;
  readonly task: string;
  readonly group: string;
  readonly turn: number;
  /** Its place among the sentences of its trace. */
  readonly index: number;
  readonly text: string;
  /** In the first picture as the model sees it. */
  readonly point: SentencePoint;
  readonly isRight: boolean | null;
}

/** Why a sentence is not shown. */
export const sentenceFaults = ["noPoint", "severalPoints", "outside", "tooShort"] as const;
export type SentenceFault = (typeof sentenceFaults)[number];

/** The sentences of a trace, and how many were left out for which reason. */
export function groundedSentences(
  trace: Trace,
  { task, group }: { readonly task: string; readonly group: string },
  isRight: boolean | null,
): { sentences: GroundedSentence[]; dropped: Record<SentenceFault, number> } {
  const dropped = { noPoint: 0, severalPoints: 0, outside: 0, tooShort: 0 };
  const sentences: GroundedSentence[] = [];
  for (const [index, { turn, text, points }] of thoughtSentences(
    trace.turns,
    trace.view,
  ).entries()) {
    const fault = faultOf(text, points);
    if (fault !== null) dropped[fault]++;
    else {
      const { recordId } = trace;
      sentences.push({ recordId, task, group, turn, index, text, point: points[0], isRight });
    }
  }
  return { sentences, dropped };
}

/** Words without which a sentence says nothing of its place. */
const leastWords = 2;

function faultOf(text: string, points: readonly SentencePoint[]): SentenceFault | null {
  if (points.length === 0) return "noPoint";
  if (points.length > 1) return "severalPoints";
  if (!points[0].inImage) return "outside";
  const rest = withPlace(text, points[0], " ");
  if (/\d\s*,\s*-?\d/.test(rest)) return "severalPoints";
  const words = rest.match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.length < leastWords ? "tooShort" : null;
}

/** A sentence with other words where its point stood. */
export function withPlace(
  text: string,
  { start, end }: Pick<SentencePoint, "start" | "end">,
  words: string,
): string {
  return text.slice(0, start) + words + text.slice(end);
}

/** All sentences in the order in which they are taken: each question's in turn, at most `perQuestion` of each. */
export function orderSentences(
  found: readonly GroundedSentence[],
  perQuestion: number,
  seed: number,
): GroundedSentence[] {
  const rank = (one: GroundedSentence) =>
    hashText(JSON.stringify([seed, one.group, one.task, one.recordId, one.turn, one.index]));
  const ranked = found
    .map((one) => ({ one, at: rank(one) }))
    .sort((a, b) => (a.at < b.at ? -1 : 1));
  const taken = new Map<string, number>();
  return ranked.flatMap(({ one }) => {
    const question = JSON.stringify([one.group, one.task, one.recordId]);
    const count = taken.get(question) ?? 0;
    taken.set(question, count + 1);
    return count < perQuestion ? [one] : [];
  });
}

/** An item before it is drawn. */
export interface PlannedItem extends Pick<
  StudyItem,
  "id" | "form" | "position" | "condition" | "text"
> {
  readonly sentence: number;
}

/** The words in the place of a point. */
export const placeWords: Readonly<Record<StudyCondition, string>> = {
  marked: "[place shown by the blue circle]",
  masked: "[place hidden]",
};

/** The items of the chosen sentences, form by form, each in an order of its own. */
export function planItems(
  sentences: readonly GroundedSentence[],
  shown: readonly StudyCondition[],
  seed: number,
): PlannedItem[] {
  const study = hashText(
    JSON.stringify([seed, sentences.map(({ text, recordId }) => [recordId, text])]),
  );
  const order = stream(seed, "study", "forms").shuffle(sentences.map((_, sentence) => sentence));
  const forms = shown.map((_, form) => String.fromCharCode(65 + form));
  return forms.flatMap((form, f) => {
    const own = stream(seed, "study", "order", form).shuffle(
      order.map((sentence, at) => ({ sentence, at })),
    );
    return own.map(({ sentence, at }, i) => {
      const condition = shown[(at + f) % shown.length];
      const { text, point } = sentences[sentence];
      return {
        id: hashText(JSON.stringify([study, sentence, condition])).slice(0, 12),
        form,
        position: i + 1,
        condition,
        sentence,
        text: plainText(withPlace(text, point, placeWords[condition])),
      };
    });
  });
}
