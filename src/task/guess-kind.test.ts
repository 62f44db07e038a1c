import { expect, test } from "vitest";
import { guessKind } from "./guess-kind.ts";

test.each([
  ["Click on the search box.", "point"],
  ["please tap the blue icon", "point"],
  ["Double-click the folder", "point"],
  ["Point to the dog's left ear", "point"],
  ["How many chairs are there?", "number"],
  ["Which digit is on the red star?", "number"],
  ["Where is the cup?\nA. left\nB. right", "choice"],
  ["Is it (A) open or (B) closed?", "choice"],
  ["What does the sign say?", "text"],
  ["Pointers in C: which line is wrong?", "text"],
  ["Vitamin A. is it healthy?", "text"],
  ["What is number 7 holding?", "text"],
] as const)("%j asks for a %s", (question, kind) => {
  expect(guessKind(question)).toBe(kind);
});
