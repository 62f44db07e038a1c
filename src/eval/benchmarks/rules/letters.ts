/** Extractors of option letters that more than one benchmark of lmms-eval (commit 75571cf) uses. */
import { letterOf } from "../judging.ts";

const PHRASES = [
  "the answer is",
  "answer is",
  "the correct answer is",
  "correct answer is",
  "the best answer is",
  "best answer is",
  "the correct option is",
  "correct option is",
  "the best option is",
  "best option is",
  "the choice is",
  "choice is",
  "the correct choice is",
  "correct choice is",
  "i choose",
  "i select",
  "i pick",
  "my answer is",
  "my choice is",
  "옵션",
  "정답은",
  "답은",
  "답:",
  "答案是",
  "答案为",
  "选",
  "答えは",
];

/**
 * Looks for letters in many shapes and takes the one of the best shape: at the start, at the end, behind
 * a phrase, then "(A)", "A.", "A:", "A)", "A ", any; within a shape the later one, and of the same place
 * the earlier letter. Null without one.
 */
export function lmmsLetter(reply: string, numChoices: number): string | null {
  const letters = Array.from({ length: numChoices }, (_, i) => letterOf(i));
  let bare = reply.trim();
  for (const mark of ",.!?;:'\"") bare = stripped(bare, mark);
  const text = ` ${bare} `;
  const found: { letter: string; at: number; rank: number }[] = [];
  const shapes: readonly [shape: (letter: string) => string, rank: number][] = [
    [(letter) => `(${letter})`, 6],
    [(letter) => `${letter}.`, 5],
    [(letter) => `${letter}:`, 4],
    [(letter) => `${letter})`, 3],
    [(letter) => `${letter} `, 2],
  ];
  for (const [shape, rank] of shapes)
    for (const letter of letters) {
      const at = text.lastIndexOf(shape(letter));
      if (at >= 0) found.push({ letter, at, rank });
    }
  const lower = text.toLowerCase();
  for (const phrase of PHRASES) {
    const from = lower.indexOf(phrase);
    if (from < 0) continue;
    for (const letter of letters) {
      const at = text.indexOf(letter, from + phrase.length);
      if (at >= 0) found.push({ letter, at, rank: 7 });
    }
  }
  const inner = text.trim();
  for (const letter of letters)
    if (inner.startsWith(letter) && !isLetter(inner.charAt(1)))
      found.push({ letter, at: 0, rank: 10 });
  for (const letter of letters)
    if (inner.endsWith(letter) && !isLetter(inner.slice(0, -1).at(-1) ?? ""))
      found.push({ letter, at: text.length - 1, rank: 9 });
  if (found.length === 0)
    for (const letter of letters) {
      const at = text.lastIndexOf(letter);
      if (at >= 0) found.push({ letter, at, rank: 0 });
    }
  found.sort((a, b) => b.rank - a.rank || b.at - a.at);
  return found[0]?.letter ?? null;
}

function isLetter(char: string): boolean {
  return /^\p{L}$/u.test(char);
}

function stripped(text: string, mark: string): string {
  let [start, end] = [0, text.length];
  while (start < end && text[start] === mark) start++;
  while (end > start && text[end - 1] === mark) end--;
  return text.slice(start, end);
}

/**
 * MMMU's rule, in the form of its authors or of lmms-eval: letters in brackets, else alone (lmms-eval:
 * before a blank, else before a dot), else in more than five words the options' texts; of several the
 * last. Null where it finds none, where both draw at random.
 */
export function indexedLetter(
  reply: string,
  choices: readonly string[],
  form: "official" | "lmms-eval",
): string | null {
  let bare = reply;
  for (const mark of ",.!?;:'") bare = stripped(bare, mark);
  const text = ` ${bare} `;
  const letters = choices.map((_, i) => letterOf(i));
  const having = (shape: (letter: string) => string) =>
    letters.filter((letter) => text.includes(shape(letter)));
  const bracketed = having((letter) => `(${letter})`);
  if (bracketed.length > 0) return latest(bracketed, (letter) => text.lastIndexOf(`(${letter})`));
  const shapes: ((letter: string) => string)[] =
    form === "official"
      ? [(letter) => ` ${letter} `]
      : [(letter) => `${letter} `, (letter) => `${letter}.`];
  for (const shape of shapes) {
    const found = having(shape);
    if (found.length > 0) return latest(found, (letter) => text.lastIndexOf(` ${letter} `));
  }
  if (text.trim().split(/\s+/).length <= 5) return null;
  const lower = text.toLowerCase();
  const textOf = (letter: string) => choices[letters.indexOf(letter)].toLowerCase();
  const named = letters.filter((letter) => lower.includes(textOf(letter)));
  return named.length === 0 ? null : latest(named, (letter) => lower.lastIndexOf(textOf(letter)));
}

/** The one that stands last; the first of those that stand at the same place. */
function latest(letters: readonly string[], placeOf: (letter: string) => number): string {
  return letters.reduce((best, letter) => (placeOf(letter) > placeOf(best) ? letter : best));
}
