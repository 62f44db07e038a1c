import { expect, test } from "vitest";
import { continuation } from "./restate.ts";

test.each([
  ["<think> so </think>\n<answer>", " 7 </answer>", " 7 </answer>"],
  ["<think> so </think>\n<answer>", "<answer> 7 </answer>", " 7 </answer>"],
  ["<think> so </think>\n<answer>", "\n<answer> 7 </answer>", " 7 </answer>"],
  ["<think> so </think>\n<answer>", "<think> so </think>\n<answer> 7 </answer>", " 7 </answer>"],
  ["<think> so </think>\n<answer>", "7", "7"],
  ["ends with a", "a word", "a word"],
])("behind %j, %j adds %j", (restated, reply, added) => {
  expect(continuation(restated, reply, true)).toBe(added);
});

test("nothing is given out while the reply may still be a repetition", () => {
  const restated = "<think> a </think>\n<answer>";
  const reply = "<think> a </think>\n<answer> 7 </answer>";
  const shown = Array.from(reply, (_, i) => continuation(restated, reply.slice(0, i + 1), false));
  const first = shown.findIndex((text) => text !== "");
  expect(reply.slice(0, first)).toBe(restated);
  shown.slice(first).forEach((text, i) => expect(" 7 </answer>".slice(0, i + 1)).toBe(text));
});
