/**
 * Sentences of a thought, each with the points that it names. A point may stand in its sentence, before
 * it ("(57, 83) a red star.") or behind its full stop ("A red star. (57, 83)"): where a thought does not
 * begin with a point, one that follows a sentence without any belongs to that sentence.
 * Left out: abbreviations, whose dots end a sentence here.
 */
import { scanPoints, type TextPoint } from "./points.ts";

export interface Sentence {
  /** Trimmed. */
  readonly text: string;
  /** Offsets count in `text`. */
  readonly points: readonly TextPoint[];
}

/** Cuts a thought into sentences; those without a letter, digit or point are left out. */
export function splitSentences(thought: string): Sentence[] {
  const points = scanPoints(thought);
  const leads = thought.slice(0, points[0]?.start ?? 0).trim() === "" && points.length > 0;
  const sentences: Sentence[] = [];
  let start = 0;
  let next = 0;
  while (start < thought.length) {
    let end = sentenceEnd(thought, start, true);
    // A mark within a point ends no sentence.
    for (let i = next; i < points.length && points[i].start < end; i++)
      if (points[i].end > end) end = sentenceEnd(thought, points[i].end, true);
    const isBare = next >= points.length || points[next].start >= end;
    if (!leads && isBare && thought.slice(start, end).trim() !== "")
      end = behindPoints(thought, end, points, next);
    const own: TextPoint[] = [];
    while (next < points.length && points[next].end <= end) own.push(points[next++]);
    const raw = thought.slice(start, end);
    const offset = start + raw.length - raw.trimStart().length;
    const text = raw.trim();
    if (/[\p{L}\p{N}]/u.test(text))
      sentences.push({
        text,
        points: own.map((p) => ({ ...p, start: p.start - offset, end: p.end - offset })),
      });
    start = end;
  }
  return sentences;
}

/** Where the sentence ends that `from` lies in: behind its mark, at a line's end on request, or at the text's. */
export function sentenceEnd(text: string, from: number, lines = false): number {
  const mark = lines ? /[.!?](?=\s|$)|\n/g : /[.!?](?=\s|$)/g;
  mark.lastIndex = from;
  const match = mark.exec(text);
  return match === null ? text.length : match.index + 1;
}

/** Takes in the points that follow at once, and the mark behind them. */
function behindPoints(
  text: string,
  from: number,
  points: readonly TextPoint[],
  next: number,
): number {
  let end = from;
  for (let i = next; i < points.length; i++) {
    if (text.slice(end, points[i].start).trim() !== "") break;
    end = points[i].end;
  }
  return end > from && /[.!?]/.test(text[end] ?? "") ? end + 1 : end;
}
