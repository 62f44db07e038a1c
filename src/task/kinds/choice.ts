/**
 * One of several options, by its letter, its text or both. Letter and text must mean one option:
 * two letters, or a letter with another option's text, are no answer.
 */
import { z } from "zod";
import type { Kind } from "./kind.ts";
import { stringMatch } from "./published-judges.ts";
import { normalise, readings } from "./readings.ts";
import { emptyProblem } from "./text.ts";

export const choice: Kind<string> = {
  truth: z.string(),
  wants: "a text",
  problem: (truth, choices) => emptyProblem(truth) ?? choiceProblem(truth, choices),
  isRight: (answer, truth, { choices }) =>
    choices.length === 0 ? isSameOption(answer, truth) : isThatOption(answer, truth, choices),
  isRightRepo: (answer, truth) => stringMatch(truth, answer),
  words: {
    role: "You answer multiple-choice questions about one image, or about two images side by side.",
    rule: "The answer is the text of one choice, without its letter: right, not A. right.",
    example: "...",
  },
  /** Two options at least, each behind its letter. */
  asks: /(?:^|\s)\(?A[.):]\s[^]*(?:^|\s)\(?B[.):]\s/m,
  show: (truth) => ({ text: truth }),
};

function choiceProblem(truth: string, choices: readonly string[]): { message: string } | null {
  if (choices.length === 0) return null;
  if (choiceIndex(truth, choices) < 0) return { message: `"${truth}" is none of the choices` };
  if (numDistinct(choices) === 1)
    return { message: "all choices say the same; whichever is chosen would be right" };
  return null;
}

/** The option that an answer means, or -1. */
export function choiceIndex(answer: string, choices: readonly string[]): number {
  const texts = choices.map(normalise);
  for (const reading of optionReadings(answer)) {
    const exact = texts.indexOf(normalise(reading));
    if (exact >= 0) return exact;
    const letter = letterIndex(reading, choices.length);
    if (letter >= 0) return letter;
    const both = LETTERED.exec(reading);
    if (both === null) continue;
    const named = letterIndex(both.groups?.letter ?? "", choices.length);
    const said = normalise(both.groups?.text ?? "");
    // "A B" may be two letters, "A. B" is an option whose text is a letter.
    if (both.groups?.mark === undefined && said.length === 1) continue;
    if (named >= 0 && texts[named] === said) return named;
  }
  return -1;
}

/** How many choices say something that none before them says. */
export function numDistinct(choices: readonly string[]): number {
  return new Set(choices.map(normalise)).size;
}

/** The option that a letter names ("B", "(b)", "B." → 1), or -1. */
export function letterIndex(text: string, numChoices: number): number {
  const match = /^\(?([A-Za-z])[.):]?\)?$/.exec(text.trim());
  if (match === null) return -1;
  const index = match[1].toUpperCase().charCodeAt(0) - 65;
  return index < numChoices ? index : -1;
}

const LETTERED =
  /^[([{<]?\s*(?<letter>[A-Za-z])(?:\s*(?<mark>[\])}>.:=\u2013\u2014-]+)\s*|\s+)(?<text>\S.*)$/s;
const BRACKETED = /^[([{<]([^()[\]{}<>]+)[)\]}>][.:]?$/;
const OPTION =
  /^(?:the\s+)?(?:(?:correct|right|best)\s+)?(?:option|choice|answer)\s*(?:is\b)?\s*:?\s+/i;
const VERDICT =
  /(?<!\s)\s+is\s+(?:(?:the\s+)?(?:(?:correct|right|best)\s+)?(?:answer|option|choice)|correct)$/i;

/** Readings as any answer has them, and as options are written: "Option B", "[B]", "B is correct". */
function optionReadings(answer: string): string[] {
  return readings(answer).flatMap((reading) => {
    const bare = reading.replace(OPTION, "").replace(VERDICT, "");
    const inner = BRACKETED.exec(bare)?.[1].trim();
    return [...new Set([reading, bare, ...(inner === undefined ? [] : [inner])])];
  });
}

function isThatOption(answer: string, truth: string, choices: readonly string[]): boolean {
  const right = choiceIndex(truth, choices);
  const said = choiceIndex(answer, choices);
  if (right < 0 || said < 0) return false;
  return said === right || normalise(choices[said]) === normalise(choices[right]);
}

/** Without a list of options, texts are compared, and letters where both have one. */
function isSameOption(answer: string, truth: string): boolean {
  const right = lettered(truth);
  return optionReadings(answer).some((reading) => {
    const said = lettered(reading);
    if (said.letter !== null && right.letter !== null && said.letter !== right.letter) return false;
    return normalise(said.text) === normalise(right.text);
  });
}

/** Splits `B. right`; a bare letter is its own text. */
function lettered(text: string): { letter: string | null; text: string } {
  const match = /^\s*\(?([A-Z])[.):]\s+(?=\S)/.exec(text);
  if (match !== null) return { letter: match[1], text: text.slice(match[0].length) };
  const bare = /^\s*\(?([A-Za-z])[.):]?\)?\s*$/.exec(text);
  return bare === null ? { letter: null, text } : { letter: bare[1].toUpperCase(), text: bare[1] };
}
