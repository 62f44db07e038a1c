/** What a question that comes without its kind asks for, as far as its words tell. */
import { kindNames, kindOf, type KindName } from "./kinds.ts";

/** The first kind that such a question asks for by its words; "text" where nothing else is plain. */
export function guessKind(question: string): KindName {
  const asked = question.trim();
  return kindNames.find((name) => kindOf(name).asks?.test(asked) === true) ?? "text";
}
