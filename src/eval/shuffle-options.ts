/**
 * A question with its options in another order: what the control `options-shuffled` asks. The order is
 * drawn from the seed and the record's id, every order alike, so that the place of the right option says
 * nothing. Letters stay where they stand, texts move behind them; truth and facts follow.
 * Left out, with the reason: questions whose text does not list their options (no order is shown), and
 * those whose options speak of others by letter or place ("both A and C", "none of the above").
 */
import { stream } from "../core/random.ts";
import { choiceIndex, letterIndex } from "../task/kinds/choice.ts";
import type { Facts, TaskRecord } from "../task/record.ts";

/** Why a question has no other order. */
export const unshuffledReasons = [
  "have no options",
  "do not list their options",
  "have options that speak of others",
] as const;
export type Unshuffled = (typeof unshuffledReasons)[number];

/** The question in its other order, which may be the same by chance; or why there is none. */
export function shuffleOptions(record: TaskRecord, seed: number): TaskRecord | Unshuffled {
  const { id, question, answer, choices } = record;
  if (choices === undefined || record.kind !== "choice" || typeof answer !== "string")
    return "have no options";
  if (choices.some((choice) => speaksOfOthers(choice, choices.length)))
    return "have options that speak of others";
  const order = stream(seed, "options", id).shuffle(choices.map((_, i) => i));
  const relist = relister(choices, order);
  const asked = relist(question);
  if (asked === null) return "do not list their options";
  const shuffled = order.map((from) => choices[from]);
  const truth = movedTruth(answer, choices, shuffled, order);
  const { facts } = record;
  return {
    ...record,
    question: asked,
    choices: shuffled,
    answer: truth,
    ...(facts === undefined ? {} : { facts: movedFacts(facts, choices, order, relist) }),
  };
}

/** A truth that is a letter becomes the letter of the same text's new place, where that names it. */
function movedTruth(
  answer: string,
  choices: readonly string[],
  shuffled: readonly string[],
  order: readonly number[],
): string {
  const right = choiceIndex(answer, choices);
  const place = order.indexOf(right);
  // As it is written, it may mean another option now.
  if (choiceIndex(answer, shuffled) === place) return answer;
  const letter = letterOf(place);
  return choiceIndex(letter, shuffled) === place ? letter : choices[right];
}

/** Texts that list the options list them anew; `gold` is the right place, `letter` and `answer` its letter. */
function movedFacts(
  facts: Facts,
  choices: readonly string[],
  order: readonly number[],
  relist: (text: string) => string | null,
): Facts {
  const { gold } = facts;
  const place = (index: number) => order.indexOf(index);
  return Object.fromEntries(
    Object.entries(facts).map(([key, value]): [string, unknown] => {
      if (key === "gold" && typeof value === "number") return [key, place(value)];
      if (typeof value !== "string") return [key, value];
      const isLetter = letterIndex(value, choices.length) === gold && typeof gold === "number";
      if ((key === "letter" || key === "answer") && isLetter) return [key, letterOf(place(gold))];
      return [key, relist(value) ?? value];
    }),
  );
}

function letterOf(index: number): string {
  return String.fromCharCode(65 + index);
}

/** "Both A and C", "B only", "point D", "none of the above"; "A red car" is an article. */
function speaksOfOthers(choice: string, count: number): boolean {
  if (/\b(?:above|below|previous|preceding|following)\b/i.test(choice) && PLACED.test(choice))
    return true;
  return [...choice.matchAll(/(?<![\p{L}\p{N}'’-])[A-Z](?![\p{L}\p{N}'’])/gu)].some(
    ({ 0: letter, index }) =>
      letterIndex(letter, count) >= 0 &&
      !(letter === "A" && /^\s+(?!(?:and|or|only|but|nor)\b)\p{Ll}/u.test(choice.slice(index + 1))),
  );
}

const PLACED =
  /\b(?:all|none|both|neither|any|one|some|two|three)\b|\bthe (?:above|below|previous|following)\b/i;

/** Rewrites a text in which all options stand in their order; null for one in which they do not. */
function relister(
  choices: readonly string[],
  order: readonly number[],
): (text: string) => string | null {
  const texts = choices.map(literal);
  const letters = texts.map(
    (text, i) => `((?:\\(${either(i)}\\)|${either(i)}[.):])\\s*)${text}${END}`,
  );
  const patterns = [
    ...(choices.length <= 26 ? [new RegExp(`${START}${letters.join("([\\s;,.]*)")}`, "gu")] : []),
    new RegExp(`${START}()${texts.map((text) => `${text}${END}`).join(BETWEEN)}`, "gu"),
  ];
  return (text) => {
    for (const [form, pattern] of patterns.entries()) {
      let isFound = false;
      const listed = text.replaceAll(pattern, (...match: (string | number)[]) => {
        isFound = true;
        const between = match.slice(1, form === 0 ? 2 * choices.length : choices.length + 1);
        return order
          .map((from, i) => `${around(between, i, form === 0)}${choices[from].trim()}`)
          .join("");
      });
      if (isFound) return listed;
    }
    return null;
  };
}

/** What stands before the i-th text: its mark, and what separates it from the one before. */
function around(groups: readonly (string | number)[], i: number, isLettered: boolean): string {
  if (!isLettered) return String(groups[i]);
  return `${i === 0 ? "" : String(groups[2 * i - 1])}${String(groups[2 * i])}`;
}

const START = "(?<![\\p{L}\\p{N}])";
const END = "(?![\\p{L}\\p{N}])";
/** Punctuation and blanks, a number or "or" among them. */
const BETWEEN = "((?=[^\\p{L}])[\\s\\p{P}\\p{S}]*(?:(?:or|and|\\p{N}{1,2})[\\s\\p{P}\\p{S}]+)?)";

function either(index: number): string {
  const letter = letterOf(index);
  return `[${letter}${letter.toLowerCase()}]`;
}

/** A text as a pattern, blanks of any kind. */
function literal(text: string): string {
  return text
    .trim()
    .split(/\s+/)
    .map((word) => word.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`))
    .join("\\s+");
}
