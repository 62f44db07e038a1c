/**
 * JSON as models write it. Strict JSON comes first; what is not strict is read where it can mean one
 * thing only: strings in single quotes, a comma too many before a closing bracket, and Python's True,
 * False and None. Everything else (a number like NaN, a missing quote, text behind the value) is no
 * JSON here either.
 */

import type { Span } from "./dialect.ts";

/** The value of a text, or undefined where it is none. Never throws. */
export function parseLooseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return readLoosely(text);
  }
}

/** Writes a value on one line, spaced as Python's json does. */
export function formatSpacedJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(formatSpacedJson).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}: ${formatSpacedJson(entry)}`).join(", ")}}`;
}

/**
 * The strings of the JSON that begins at `from`, quotes included; one that never closes ends behind
 * the text. No JSON has a `<` outside its strings, so the first one there, that of a tag, is its end.
 */
export function stringsOf(text: string, from: number): Span[] {
  const spans: Span[] = [];
  let start = -1;
  let mayOpenSingle = false;
  for (let at = from; at < text.length; at++) {
    const letter = text[at];
    if (start >= 0) {
      if (letter === "\\") at++;
      else if (letter === text[start]) {
        spans.push({ start, end: at + 1 });
        start = -1;
        mayOpenSingle = false;
      }
    } else if (letter === "<") break;
    else if (letter === '"' || (letter === "'" && mayOpenSingle)) start = at;
    // An apostrophe opens a string only where a key or a value may begin.
    else if (!/\s/.test(letter)) mayOpenSingle = "{[,:".includes(letter);
  }
  return start < 0 ? spans : [...spans, { start, end: text.length + 1 }];
}

/** Deeper than any call; a bound, so that no text can exhaust the stack. */
const maxDepth = 64;

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORDS: readonly (readonly [string, unknown])[] = [
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["null", null],
  ["None", null],
];

class Unreadable extends Error {}

function readLoosely(text: string): unknown {
  let at = 0;
  try {
    const value = readValue(0);
    skipBlanks();
    return at === text.length ? value : undefined;
  } catch (error) {
    if (error instanceof Unreadable) return undefined;
    throw error;
  }

  function readValue(depth: number): unknown {
    if (depth > maxDepth) throw new Unreadable();
    skipBlanks();
    const letter = text[at];
    if (letter === "{") return Object.fromEntries(readItems("}", () => readEntry(depth + 1)));
    if (letter === "[") return readItems("]", () => readValue(depth + 1));
    if (letter === '"' || letter === "'") return readString();
    const word = WORDS.find(([written]) => text.startsWith(written, at));
    if (word !== undefined) {
      at += word[0].length;
      return word[1];
    }
    NUMBER.lastIndex = at;
    const number = NUMBER.exec(text);
    if (number === null) throw new Unreadable();
    at += number[0].length;
    return Number(number[0]);
  }

  function readEntry(depth: number): [string, unknown] {
    skipBlanks();
    if (text[at] !== '"' && text[at] !== "'") throw new Unreadable();
    const key = readString();
    skipBlanks();
    expect(":");
    return [key, readValue(depth)];
  }

  /** What stands between brackets; a comma may stand before the closing one. */
  function readItems<T>(close: string, readItem: () => T): T[] {
    const items: T[] = [];
    at++;
    for (;;) {
      skipBlanks();
      if (text[at] === close) break;
      items.push(readItem());
      skipBlanks();
      if (text[at] !== close) expect(",");
    }
    at++;
    return items;
  }

  function readString(): string {
    const quote = text[at];
    let end = at + 1;
    while (end < text.length && text[end] !== quote) end += text[end] === "\\" ? 2 : 1;
    if (end >= text.length) throw new Unreadable();
    const inner = text.slice(at + 1, end);
    at = end + 1;
    const escaped = quote === '"' ? inner : inner.replaceAll(/\\.|"/gs, requote);
    try {
      return JSON.parse(`"${escaped}"`) as string;
    } catch {
      throw new Unreadable();
    }
  }

  function skipBlanks(): void {
    while (at < text.length && /\s/.test(text[at])) at++;
  }

  function expect(letter: string): void {
    if (text[at] !== letter) throw new Unreadable();
    at++;
  }
}

/** A piece of a single-quoted string as it stands between double quotes. */
function requote(piece: string): string {
  if (piece === '"') return '\\"';
  return piece === "\\'" ? "'" : piece;
}
