/**
 * The sentences of an episode's thoughts, each with the points that it names, brought to the first
 * picture as the model sees it. Of a turn without a thought between tags, what stands outside of its call
 * and its answer is taken for the thought.
 */
import { contains, type Coordinates, type Size } from "../image/frames.ts";
import { parseTurn } from "../text/grammar.ts";
import type { TextPoint } from "../text/points.ts";
import { splitSentences } from "../text/sentences.ts";
import { pointToResized } from "./tools/place-args.ts";

/** A point in a sentence: `start` and `end` count in its text, `x` and `y` in the picture. */
export interface SentencePoint extends TextPoint {
  readonly inImage: boolean;
}

export interface ThoughtSentence {
  readonly turn: number;
  readonly text: string;
  readonly points: readonly SentencePoint[];
}

/** The picture that points count in. Sides of `Infinity`: its size is not known. */
export interface PointView {
  readonly resized: Size;
  readonly coordinates: Coordinates;
}

/** All sentences in order. Without a view no point is known. */
export function thoughtSentences(
  turns: readonly { readonly text: string }[],
  view: PointView | null,
): ThoughtSentence[] {
  return turns.flatMap(({ text }, turn) =>
    thoughtsOf(text).flatMap((thought) =>
      splitSentences(thought).map((sentence) => ({
        turn,
        text: sentence.text,
        points: view === null ? [] : sentence.points.map((written) => placed(written, view)),
      })),
    ),
  );
}

function thoughtsOf(turn: string): string[] {
  const { segments } = parseTurn(turn);
  const thinks = segments.filter(({ kind }) => kind === "think");
  const said = thinks.length > 0 ? thinks : segments.filter(({ kind }) => kind === "text");
  return said.map(({ text }) => text);
}

function placed(written: TextPoint, view: PointView): SentencePoint {
  const { x, y } = pointToResized(written, view);
  return { ...written, x, y, inImage: contains(view.resized, { x, y }) };
}
