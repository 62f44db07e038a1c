/** What a question that comes without its kind asks for, as far as its words and its answer tell. */
import { kindNames, kindOf, truthProblem, type Asked, type KindName } from "./kinds.ts";

/** The first kind that such a question asks for by its words; "text" where nothing else is plain. */
export function guessKind(question: string): KindName {
  const asked = question.trim();
  return kindNames.find((name) => kindOf(name).asks?.test(asked) === true) ?? "text";
}

/**
 * The kind of a question whose answer is known: a region is a point, listed options make a choice, and
 * else the words decide where the answer can be judged by what they ask for.
 */
export function guessRecordKind({
  question,
  answer,
  choices,
}: Omit<Asked, "kind"> & { readonly question: string }): KindName {
  if (typeof answer === "object") return "point";
  if (choices !== undefined) return "choice";
  const kind = guessKind(question);
  return truthProblem({ kind, answer }) === null ? kind : "text";
}
