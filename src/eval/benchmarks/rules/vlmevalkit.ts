/** The rules of VLMEvalKit (commit e8e78f0), in its mode without a language model. */
import type { TaskRecord } from "../../../task/record.ts";
import { choicesOf, lettered, letterOf } from "../judging.ts";

/**
 * The letter that a reply is taken for, "Z" for a refusal, null where nothing can be inferred.
 * `nearEnd` asks for a lone letter to be one of the last four words, as the general matcher does.
 */
export function canInfer(
  answer: string,
  choices: readonly string[],
  { nearEnd = true }: { readonly nearEnd?: boolean } = {},
): string | null {
  const letters = choices.map((_, i) => letterOf(i));
  return inferOption(answer, letters, nearEnd) ?? inferText(answer, choices);
}

/** The extractor for records with choices: what is unresolved, and refusals, are wrong. */
export function vlmevalkitLetter(text: string, record: TaskRecord): string | null {
  const found = canInfer(text, choicesOf(record));
  return found === "Z" ? null : found;
}

/** Yes or No where exactly one of the words stands in the reply; else null. */
export function yesOrNo(text: string): "Yes" | "No" | null {
  const words = withoutPunctuation(text.toLowerCase()).split(/\s+/);
  const [yes, no] = [words.includes("yes"), words.includes("no")];
  return yes === no ? null : yes ? "Yes" : "No";
}

/** How it puts a multiple-choice question. */
export function vlmevalkitQuestion(
  question: string,
  choices: readonly string[],
  hint = "",
): string {
  return [
    ...(hint === "" ? [] : [`Hint: ${hint}`]),
    `Question: ${question}`,
    "Options:",
    lettered(choices),
    "Please select the correct answer from the options above.",
  ].join("\n");
}

/** The phrases by which it knows a refusal. */
const REFUSALS = [
  "Sorry, I can't help with images of people yet.",
  "I can't process this file.",
  "I'm sorry, but without the image provided",
  "Cannot determine the answer",
];

function inferOption(answer: string, letters: readonly string[], nearEnd: boolean): string | null {
  if (answer.includes("Failed to obtain answer via API")) return null;
  if (REFUSALS.some((phrase) => answer.includes(phrase))) return "Z";
  const words = answer
    .replaceAll(/[.()[\],:;!*#{}]/g, " ")
    .split(/\s+/)
    .filter((word) => word !== "");
  const found = letters.filter((letter) => words.includes(letter));
  if (found.length === 1) {
    if (!nearEnd || words.indexOf(found[0]) > words.length - 5) return found[0];
  } else if (found.length === 0 && words.includes("Z")) return "Z";
  const stated = /(?:correct\s+)?answer\s+is\s+\**([ABCD])\**/i.exec(answer)?.[1].toUpperCase();
  return stated !== undefined && letters.includes(stated) ? stated : null;
}

function inferText(answer: string, choices: readonly string[]): string | null {
  const text = answer.toLowerCase();
  if (text.length > 2 * choices.reduce((sum, choice) => sum + choice.length, 0)) return null;
  const inside = choices.flatMap((choice, i) =>
    text.includes(choice.toLowerCase()) ? [letterOf(i)] : [],
  );
  return inside.length === 1 ? inside[0] : null;
}

/** Its way to take punctuation away: a mark goes where one stands beside a blank, else becomes one. */
function withoutPunctuation(text: string): string {
  const hasThousands = /\d,\d/.test(text);
  let out = text;
  for (const mark of ';/[]"{}()=+\\_-><@`,?!') {
    const goes = hasThousands || text.includes(`${mark} `) || text.includes(` ${mark}`);
    out = out.replaceAll(mark, goes ? "" : " ");
  }
  // At most 32 full stops: a flag stands where the pattern's count belongs.
  let left = 32;
  return out.replaceAll(/(?<!\d)\.(?!\d)/g, (stop) => (left-- > 0 ? "" : stop));
}
