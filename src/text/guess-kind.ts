/** What a question that comes without its kind asks for, as far as its first words tell. */
import type { AnswerKind } from "./prompts.ts";

const point =
  /^(?:please\s+)?(?:(?:left|right|double|single)[- ]?)?(?:click|tap|press|point|touch|locate|hover)\b/i;
const number =
  /^(?:how\s+(?:many|much|old|far|tall)\b|(?:what|which)\s+(?:is\s+the\s+)?(?:number|digit|amount|count|percentage|price|year)\b|count\b)/i;
/** Two options at least, each behind its letter. */
const choice = /(?:^|\s)\(?A[.):]\s[^]*(?:^|\s)\(?B[.):]\s/m;

/** "text" where nothing else is plain. */
export function guessKind(question: string): AnswerKind {
  const asked = question.trim();
  if (choice.test(asked)) return "choice";
  if (point.test(asked)) return "point";
  return number.test(asked) ? "number" : "text";
}
