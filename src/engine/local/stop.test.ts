import { expect, test } from "vitest";
import { StopMatcher } from "./stop.ts";

/** Number of one-byte tokens up to and with the one that stops; 0 when none does. */
function tokensUntilStop(text: string, stops: string[]): number {
  const matcher = new StopMatcher(stops, (token) => String.fromCharCode(token));
  return [...Buffer.from(text)].findIndex((token) => matcher.push(token)) + 1;
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
  const matcher = new StopMatcher(["two"], (token) => words[token]);
  expect([0, 1, 2].map((token) => matcher.push(token))).toEqual([false, false, true]);
});

test("characters may be spread over tokens, and tokens may be empty", () => {
  expect(tokensUntilStop("é→x", ["→"])).toBe(5);
  expect(tokensUntilStop("🎯 ok 🎯!", ["🎯!"])).toBe(13);
  const matcher = new StopMatcher(["ab"], (token) => ["a", "", "b"][token]);
  expect([0, 1, 2].map((token) => matcher.push(token))).toEqual([false, false, true]);
});
