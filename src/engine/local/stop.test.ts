import { expect, test } from "vitest";
import { cachedDecode, StopMatcher } from "./stop.ts";

/** Tokens are bytes. */
const bytes = (tokens: number[]): string => new TextDecoder().decode(Uint8Array.from(tokens));

function tokensUntilStop(text: string, stops: string[]): number {
  const matcher = new StopMatcher(stops, cachedDecode(bytes));
  return [...new TextEncoder().encode(text)].findIndex((token) => matcher.push(token)) + 1;
}

test("stops at the token that completes the first stop string", () => {
  expect(tokensUntilStop("<a>7</a> more </a>", ["</a>", "</tool>"])).toBe(8);
  expect(tokensUntilStop("x</tool>", ["</a>", "</tool>"])).toBe(8);
  expect(tokensUntilStop("aab", ["ab"])).toBe(3);
  expect(tokensUntilStop("abc", ["b"])).toBe(2);
  expect(tokensUntilStop("nothing", ["</a>"])).toBe(0);
  expect(tokensUntilStop("nothing", [])).toBe(0);
});

test("sees a string that begins and ends inside tokens", () => {
  const words = ["one", " tw", "o three", " four"];
  const matcher = new StopMatcher(
    ["two"],
    cachedDecode((ids) => ids.map((id) => words[id]).join("")),
  );
  expect([0, 1, 2].map((id) => matcher.push(id))).toEqual([false, false, true]);
});

test("characters spread over tokens count once they are whole", () => {
  expect(tokensUntilStop("é→x", ["→"])).toBe(5);
  expect(tokensUntilStop("🎯 ok 🎯!", ["🎯!"])).toBe(13);
});

test("bytes that never make a character hide nothing after them", () => {
  const matcher = new StopMatcher(["end"], cachedDecode(bytes));
  const tokens = [0xff, 0xfe, 0xff, 0xff, 0xff, ...Buffer.from("end")];
  expect(tokens.findIndex((token) => matcher.push(token))).toBe(7);
});
