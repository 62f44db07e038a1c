/** A word or a few: right when it reads as the truth, letter for letter but for dress and case. */
import { z } from "zod";
import type { Kind } from "./kind.ts";
import { stringMatch } from "./published-judges.ts";
import { normalise, readings } from "./readings.ts";

export const text: Kind<string> = {
  truth: z.string(),
  wants: "a text",
  problem: emptyProblem,
  isRight: (answer, truth) =>
    readings(answer).some((reading) => normalise(reading) === normalise(truth)),
  isRightRepo: (answer, truth) => stringMatch(truth, answer),
  words: {
    role: "You answer questions about an image.",
    rule: "The answer is short: a word or a few.",
    example: "...",
  },
  show: (truth) => ({ text: truth }),
};

/** What is wrong with any truth that says nothing. */
export function emptyProblem(truth: string): { message: string } | null {
  return truth.trim() === ""
    ? { message: "the answer is empty; every reply would match it" }
    : null;
}
