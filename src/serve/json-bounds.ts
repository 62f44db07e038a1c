/**
 * Bounds on a body before it is parsed: how many values it holds and how deep they nest, read off its
 * bytes. A parser would make an object of each first, and a schema a complaint about each.
 */
import { ApiError } from "./api-error.ts";

export interface JsonBounds {
  readonly maxValues: number;
  readonly maxDepth: number;
}

/** @throws ApiError 400 where there is more than the bounds allow. Says nothing of the syntax. */
export function checkBounds(json: Uint8Array, { maxValues, maxDepth }: JsonBounds): void {
  let numValues = 1;
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    if (byte === QUOTE) i = endOfString(json, i);
    else if (byte === COMMA) numValues++;
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      numValues++;
      if (++depth > maxDepth) throw new ApiError(400, `the body nests more than ${maxDepth} deep`);
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
    if (numValues > maxValues)
      throw new ApiError(400, `the body holds more than ${maxValues} values`);
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Where the quotes of a string end that begin at `start`; behind the last byte where they do not. */
function endOfString(json: Uint8Array, start: number): number {
  for (let at = start + 1; ; at++) {
    at = json.indexOf(QUOTE, at);
    if (at < 0) return json.length;
    let escapes = 0;
    while (json[at - 1 - escapes] === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return at;
  }
}
