/** Work under a watchdog: what it gives, what it throws, and what never ends. */
import { expect, test } from "vitest";
import { withinTime } from "./time-limit.ts";

const late = () => new Error("late");

test("work gives and throws what it would without", () => {
  const list = [1, 2];
  expect(withinTime(60_000, () => list, late)).toBe(list);
  const error = new Error("no luck");
  const fails = () => {
    throw error;
  };
  expect(() => withinTime(60_000, fails, late)).toThrow(error);
  const inner = () => withinTime(60_000, () => 3, late);
  expect(withinTime(60_000, () => inner() + inner(), late)).toBe(6);
});

test.each([
  ["a regular expression that backtracks", () => /^(a+)+$/.test(`${"a".repeat(50)}b`)],
  ["a loop", () => endless()],
])("%s is stopped", (_, work) => {
  expect(() => withinTime(50, work, late)).toThrow("late");
  expect(withinTime(60_000, () => 1, late)).toBe(1);
});

function endless(): never {
  for (;;);
}
