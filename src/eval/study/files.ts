/**
 * The files of a human study. People see `items.jsonl`, the pictures beside it and `study.json`; ids there
 * say nothing of model, question or place. What they stand for is in the key, a file of its own outside of
 * that folder. Ratings come back one a line.
 */
import { z } from "zod";

/** How a sentence is shown: its place as a circle in the picture, or hidden. */
export const conditions = ["marked", "masked"] as const;
export type StudyCondition = (typeof conditions)[number];

/** A line of items.jsonl: what a person sees. Items of one form are for one person, in order. */
export const itemSchema = z.strictObject({
  version: z.literal(1),
  id: z.string().min(1),
  form: z.string(),
  position: z.int().min(1),
  condition: z.enum(conditions),
  /** The sentence, its coordinates replaced by words. */
  text: z.string(),
  /** Relative to the folder. */
  image: z.string(),
});
export type StudyItem = z.infer<typeof itemSchema>;

/** A line of the key: what an item stands for. */
export const keySchema = z.strictObject({
  version: z.literal(1),
  id: z.string().min(1),
  /** The same for the items of one sentence. */
  sentence: z.int().min(0),
  condition: z.enum(conditions),
  run: z.string(),
  task: z.string(),
  group: z.string(),
  recordId: z.string(),
  turn: z.int().min(0),
  /** As the model wrote it. */
  written: z.string(),
  /** The point, in pixels of the record's image and of the shown picture. */
  point: z.strictObject({ x: z.number(), y: z.number() }),
  shown: z.strictObject({ x: z.number(), y: z.number() }),
  /** Whether the answer of its trace was right; null where nothing judged it. */
  isRight: z.boolean().nullable(),
});
export type KeyLine = z.infer<typeof keySchema>;

/** What study.json says: instructions and questions for the page that asks, and how items were made. */
export interface StudyFile {
  readonly version: 1;
  readonly seed: number;
  readonly instructions: readonly string[];
  readonly questions: typeof questions;
  readonly circlePx: number;
  readonly forms: Readonly<Record<string, number>>;
}

export const instructions = [
  "A computer program has looked at pictures and written down what it saw, sentence by sentence.",
  "You see one picture and one sentence at a time. Read the sentence, then look at the picture.",
  "Where a blue circle is drawn, the sentence speaks of a place, and the circle shows which. Judge whether any part of what the sentence describes lies within the circle.",
  "Where the place is hidden, there is no circle.",
  "Go by what you see. There is no need to guess: say so where you are unsure.",
];

/** What is asked, of which items, and the values that a rating may have. */
export const questions = {
  accuracy: {
    of: ["marked"],
    text: "Does any part of what the sentence describes lie within the circle?",
    values: {
      yes: "some part of it lies in the circle",
      no: "all of it lies outside",
      unsure: "I cannot tell",
    },
  },
  helpfulness: {
    of: ["marked"],
    text: "The circle helped me to understand the sentence.",
    values: {
      1: "strongly disagree",
      2: "disagree",
      3: "neither",
      4: "agree",
      5: "strongly agree",
    },
  },
  clarity: {
    of: ["marked", "masked"],
    text: "I know which part of the picture the sentence speaks of.",
    values: {
      1: "strongly disagree",
      2: "disagree",
      3: "neither",
      4: "agree",
      5: "strongly agree",
    },
  },
} as const;

const likert = z.int().min(1).max(5);

/**
 * A line of ratings.jsonl, a row of ratings.csv. `accuracy` and `helpfulness` are asked of marked items, and
 * of them `accuracy` always; `clarity` may be asked of both.
 */
export const ratingSchema = z.strictObject({
  participant: z.string().trim().min(1).max(200),
  item: z.string().min(1),
  accuracy: z.enum(["yes", "no", "unsure"]).optional(),
  helpfulness: likert.optional(),
  clarity: likert.optional(),
});
export type Rating = z.infer<typeof ratingSchema>;
