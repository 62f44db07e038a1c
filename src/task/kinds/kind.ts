/**
 * What a kind of answer is: what its truth looks like in a record, when an answer is right, what a
 * prompt says of it, and where it is drawn. One file a kind; `../kinds.ts` is their table.
 */
import type { z } from "zod";
import type { Point } from "../../image/frames.ts";
import type { KindWords } from "../../text/prompts.ts";
import type { AnswerView } from "../trajectory.ts";

/** What a judge knows besides truth and answer. */
export interface JudgeContext {
  /** The options' texts, in the order of their letters; empty where the record lists none. */
  readonly choices: readonly string[];
  /** How coordinates in the answer are to be read; null: as original-image pixels. */
  readonly view: AnswerView | null;
}

/** What is wrong with a truth, and where in it. */
export interface TruthProblem {
  readonly path?: readonly string[];
  readonly message: string;
}

/** A truth as a reader is shown it; `box` is in original pixels. */
export interface ShownTruth {
  readonly text: string;
  readonly box?: readonly [x0: number, y0: number, x1: number, y1: number];
}

export interface Kind<Truth> {
  /** The form of the truth in a record, and how an error calls it. */
  readonly truth: z.ZodType<Truth>;
  readonly wants: string;
  /** Why no answer, or any answer, would be right; null where the truth can be judged by. */
  readonly problem: (truth: Truth, choices: readonly string[]) => TruthProblem | null;
  /** Whether an answer says what the truth says. Total: a model may write anything. */
  readonly isRight: (answer: string, truth: Truth, context: JudgeContext) => boolean;
  /** The same by the judge of the published search and evaluation, with its faults. */
  readonly isRightRepo: (answer: string, truth: Truth, context: JudgeContext) => boolean;
  /** What prompts say of it. */
  readonly words: KindWords;
  /** Questions that plainly ask for it, trimmed; kinds are tried in the order of their table. */
  readonly asks?: RegExp;
  readonly show: (truth: Truth) => ShownTruth;
  /** The truth as a model would write it, for kinds whose truth is no text. */
  readonly write?: (truth: Truth, view: AnswerView) => string;
  /** Where an answer points to in the original image, for kinds that point. */
  readonly place?: (answer: string, view: AnswerView | null) => Point<"original"> | null;
}
