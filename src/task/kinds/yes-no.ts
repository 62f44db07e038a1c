/**
 * Yes or no: right when the answer is that word, dressed or not. A sentence that begins with the word is
 * no answer of this kind: what follows may take it back.
 */
import { z } from "zod";
import type { Kind } from "./kind.ts";
import { stringMatch } from "./published-judges.ts";
import { normalise, readings } from "./readings.ts";

export const yesNo: Kind<string> = {
  truth: z.string(),
  wants: "yes or no",
  problem: (truth) =>
    yesOrNoIn(truth) === null ? { message: `"${truth}" is not yes or no` } : null,
  isRight: (answer, truth) => {
    const said = yesOrNoIn(answer);
    return said !== null && said === yesOrNoIn(truth);
  },
  isRightRepo: (answer, truth) => stringMatch(truth, answer),
  words: {
    role: "You answer yes-or-no questions about an image.",
    rule: "The answer is yes or no.",
    example: "yes",
  },
  show: (truth) => ({ text: truth }),
};

/** The word that an answer consists of, or null. */
export function yesOrNoIn(answer: string): "yes" | "no" | null {
  for (const reading of readings(answer)) {
    const word = normalise(reading);
    if (word === "yes" || word === "no") return word;
  }
  return null;
}
