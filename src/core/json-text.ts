/**
 * What a JSON parser passes over: a key that an object has twice, of which it keeps the last, and nesting
 * that whatever walks the value later may not survive. Read off the text, without recursion.
 */

/** Nothing that we read or write nests deeper. */
const maxDepth = 500;

/** What is wrong with a text that is JSON, in words, or null. Says nothing of its syntax. */
export function jsonProblem(json: string): string | null {
  /** The keys of each object that is open; null for a list. */
  const open: (Set<string> | null)[] = [];
  let isKey = false;
  for (let at = 0; at < json.length; at++) {
    switch (json.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(json, at);
        const keys = open.at(-1);
        if (isKey && keys !== null && keys !== undefined) {
          const key = keyOf(json.slice(at, end + 1));
          if (keys.has(key)) return `has the key ${JSON.stringify(key)} twice`;
          keys.add(key);
          isKey = false;
        }
        at = end;
        break;
      }
      case OPEN_OBJECT:
      case OPEN_LIST:
        isKey = json.charCodeAt(at) === OPEN_OBJECT;
        if (open.push(isKey ? new Set() : null) > maxDepth) return `nests deeper than ${maxDepth}`;
        break;
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        open.pop();
        isKey = false;
        break;
      case COMMA:
        isKey = open.length > 0 && open.at(-1) !== null;
    }
  }
  return null;
}

/** What a quoted key says; a faulty one stands for itself until the parser complains. */
function keyOf(quoted: string): string {
  if (!quoted.includes("\\")) return quoted.slice(1, -1);
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return quoted;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Where the string ends whose quotes open at `start`; behind the text where they do not close. */
function endOfString(json: string, start: number): number {
  for (let at = start + 1; ; at++) {
    at = json.indexOf('"', at);
    if (at < 0) return json.length;
    let escapes = 0;
    while (json.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return at;
  }
}
