/**
 * Rows with a key for the question, one for the answer and one for the images: JSONL as people write
 * it, tables, and the sets of EasyR1 (`problem`, `answer`, `images`) and TRL (`prompt`, `solution`,
 * `image`). Options may be a list, text with bars, or columns A, B, C, …
 */
import { choicesOf, imageCells, jsonOf, statedAnswer, withoutImageMarks } from "./cells.ts";
import { aliases, keyIn, type Draft, type Form, type Read, type Row, type Unread } from "./form.ts";
import { readTalk, talkKeyOf } from "./talk.ts";

/** Rows as people write them; a conversation where there is one. */
export const jsonl: Form = {
  about: "JSONL, JSON or Parquet with a question, an answer and images under any usual name",
  read: (row) => (talkKeyOf(row) === undefined ? readFlat(row) : readTalk(row)),
};

export const csv: Form = {
  about: "a table with a header: .csv or .tsv, options as a list or in columns A, B, C, …",
  read: (row) => readFlat(row),
};

export const easyr1: Form = {
  about: "EasyR1's rows: problem, answer, images",
  read: (row) => readFlat(row, { question: ["problem"], answer: ["answer"] }),
};

export const trl: Form = {
  about: "TRL's rows: prompt with a solution or a completion, or messages; image or images",
  read: (row) =>
    talkKeyOf(row) === undefined
      ? readFlat(row, {
          question: ["prompt", "problem", "question"],
          answer: ["solution", "answer", "ground_truth", "completion", "label"],
        })
      : readTalk(row),
};

type Names = Readonly<Partial<Record<keyof Draft, readonly string[]>>>;

/** Reads a row by the names of its keys. */
export function readFlat(row: Row, names: Names = {}): Read | Unread {
  const known: Record<keyof Draft, readonly string[]> = { ...aliases, ...names };
  const used: Record<string, string> = {};
  const notes: string[] = [];
  const take = (ours: keyof Draft): unknown => {
    const key = keyIn(row, known[ours]);
    if (key === undefined) return undefined;
    used[key] = ours;
    return row[key];
  };
  const asked = take("question");
  if (typeof asked !== "string" || withoutImageMarks(asked) === "")
    return { reason: `no question (under ${known.question.join(", ")})` };
  const said = take("answer");
  if (said === undefined) return { reason: `no answer (under ${known.answer.join(", ")})` };
  const shown = take("images");
  const images = shown === undefined ? null : imageCells(shown);
  if (images === null || images.length === 0)
    return { reason: `no images (under ${known.images.join(", ")})` };
  const listed = take("choices");
  const choices = listed === undefined ? lettered(row, used) : choicesOf(listed);
  if (choices === null) return { reason: "options that are no list of texts" };
  const [id, category, kind, evidence] = [
    take("id"),
    take("category"),
    take("kind"),
    take("evidence"),
  ];
  const draft: Draft = {
    ...(isName(id) ? { id: String(id) } : {}),
    question: withoutImageMarks(asked),
    answer: answerOf(said, choices, notes),
    images,
    ...(choices.length === 0 ? {} : { choices }),
    ...(isName(category) ? { category: String(category) } : {}),
    ...(typeof kind === "string" ? { kind } : {}),
    ...(evidence === undefined
      ? {}
      : { evidence: typeof evidence === "string" ? jsonOf(evidence) : evidence }),
  };
  return { used, drafts: [draft], notes };
}

/** A region stays one; text is freed of its tags; a place among the options becomes the option. */
export function answerOf(said: unknown, choices: readonly string[], notes: string[]): unknown {
  const isPlace = typeof said === "number" && choices[said] !== undefined;
  if (isPlace && !choices.includes(String(said))) {
    notes.push("answers that count the options from 0, taken as the option");
    return choices[said];
  }
  if (typeof said === "number" || typeof said === "boolean") return String(said);
  if (typeof said !== "string") return said;
  const region = said.trimStart().startsWith("{") ? jsonOf(said) : undefined;
  if (typeof region === "object" && region !== null) return region;
  const { answer, note } = statedAnswer(said);
  if (note !== undefined) notes.push(note);
  return answer;
}

/** Options in columns of their own, from A on. */
function lettered(row: Row, used: Record<string, string>): string[] {
  const choices: string[] = [];
  for (let letter = 65; letter < 91; letter++) {
    const key = String.fromCharCode(letter);
    const text = row[key];
    if ((typeof text !== "string" && typeof text !== "number") || text === "") break;
    choices.push(String(text));
    used[key] = "choices";
  }
  if (choices.length >= 2) return choices;
  for (const key of Object.keys(used)) if (used[key] === "choices") delete used[key];
  return [];
}

function isName(value: unknown): value is string | number {
  return (typeof value === "string" && value !== "") || typeof value === "number";
}
