/** Records of questions with options, from what their layouts have in common. */
import { VigorlError } from "../../core/errors.ts";
import type { Row } from "../../data/rows/row.ts";
import { choiceIndex } from "../../task/kinds/choice.ts";
import type { ImageSource, TaskRecord } from "../../task/record.ts";
import { lettered, letterOf } from "./judging.ts";

export interface ChoiceDraft {
  readonly id: string;
  readonly place: string;
  readonly images: readonly ImageSource[];
  /** Without the options. */
  readonly question: string;
  readonly choices: readonly string[];
  /** Place of the right one. */
  readonly gold: number;
  /** What the record's answer says: the letter, or the option's text. Judges take either. */
  readonly answer?: "letter" | "text";
  readonly category?: string | undefined;
  readonly facts?: Readonly<Record<string, unknown>>;
}

/** A record of kind "choice", its options listed by letter. @throws VigorlError naming the row */
export function choiceRecord(draft: ChoiceDraft): TaskRecord {
  const { id, place, images, question, choices, gold, answer = "letter", category, facts } = draft;
  if (choices.length < 2 || choices.length > 26)
    throw new VigorlError("input", `${place}: lists ${choices.length} options`);
  if (!(gold >= 0 && gold < choices.length))
    throw new VigorlError("input", `${place}: its answer is none of the ${choices.length} options`);
  if (choices.some((choice) => choice.trim() === ""))
    throw new VigorlError("input", `${place}: an option is empty`);
  // A letter that is another option's text would be taken for that one.
  const byLetter = answer === "letter" && choiceIndex(letterOf(gold), choices) === gold;
  return {
    id,
    images,
    question: `${question}\n${lettered(choices)}`,
    kind: "choice",
    answer: byLetter ? letterOf(gold) : choices[gold],
    choices,
    ...(category === undefined ? {} : { category }),
    facts: { gold, question, ...facts },
  };
}

/** Place of a letter, "A" or "(A)"; -1 for what is none. */
export function letterPlace(letter: string): number {
  const match = /^\(?([A-Z])\)?$/.exec(letter.trim());
  return match === null ? -1 : match[1].charCodeAt(0) - 65;
}

/** The options of a table with a column for each, A, B, …, as far as they are filled. */
export function optionColumns({ cells }: Row): string[] {
  const options: string[] = [];
  for (let i = 0; i < 26; i++) {
    const cell = cells[letterOf(i)];
    const text = typeof cell === "number" ? String(cell) : cell;
    if (typeof text !== "string" || text === "" || text.toLowerCase() === "nan") break;
    options.push(text);
  }
  return options;
}

/** Options as a text lists them, `(A) red` or `A. red`, and what stands before the first. */
export function listedOptions(text: string): { head: string; choices: string[] } {
  const marks = [...text.matchAll(/(?:^|\n)\s*(?:\(([A-Z])\)|([A-Z])[.):])\s*/g)];
  const inOrder = marks.filter((mark, i) => (mark[1] ?? mark[2]) === letterOf(i));
  const choices = inOrder.map((mark, i) =>
    text.slice(mark.index + mark[0].length, inOrder[i + 1]?.index ?? text.length).trim(),
  );
  const head = inOrder.length === 0 ? text : text.slice(0, inOrder[0].index);
  return { head: head.trim(), choices };
}
