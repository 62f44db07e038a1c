import fc from "fast-check";
import { expect, test } from "vitest";
import { judge } from "../judge.ts";
import { sameValue, valueOf } from "./maths.ts";

test.each([
  [String.raw`\frac{1}{2}`, "0.5"],
  [String.raw`\frac12`, ".5"],
  [String.raw`2\sqrt{2}`, String.raw`\sqrt{8}`],
  [String.raw`$45^{\circ}$`, "45"],
  ["x = 60", "60"],
  ["60 cm", "60"],
  ["1,250", "1250"],
  [String.raw`2\pi`, "2π"],
  [String.raw`\left( 3, \frac{1}{2} \right)`, "(3, 0.5)"],
  ["2^{-1}", "0.5"],
  ["-3", "−3"],
])("%j is %j", (a, b) => {
  expect([sameValue(a, b), sameValue(b, a)]).toEqual([true, true]);
});

test.each([
  ["60 cm", "60 kg"],
  ["0.33", String.raw`\frac{1}{3}`],
  ["50%", "50"],
  ["(1, 2)", "(2, 1)"],
  ["(1, 2)", "1"],
  ["", ""],
  ["x", "y"],
  ["2 3", "6"],
  [String.raw`\frac{1}{0}`, String.raw`\frac{2}{0}`],
  ["the answer", "1"],
])("%j is not %j", (a, b) => {
  expect(sameValue(a, b)).toBe(false);
});

test("whatever is written, a value comes out or none, at once", () => {
  const piece = fc.constantFrom("\\frac", "\\sqrt", "{", "}", "(", ")", "^", "-", "9", ",", "\\pi");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 80 }), (pieces) => {
      const value = valueOf(pieces.join(""));
      expect(value === null || Number.isFinite(value)).toBe(true);
    }),
    { numRuns: 2000 },
  );
  expect(valueOf("9^9^9^9^9")).toBeNull();
  expect(valueOf("(".repeat(5000))).toBeNull();
});

test("a number with a tolerance: edges belong to it, units count", () => {
  const near = (answer: string, truth = "3.43 ± 0.01") =>
    judge({ kind: "number", answer: truth }, answer);
  expect([near("3.43"), near("3.44"), near("3.42"), near("3.441"), near("3.4")]).toEqual([
    1, 1, 1, 0, 0,
  ]);
  expect([near("12 cm", "12.1 cm ± 0.2"), near("12 kg", "12.1 cm ± 0.2")]).toEqual([1, 0]);
  expect(judge({ kind: "number", answer: "7" }, "7 ± 100")).toBe(0);
});

test("yes and no: the word alone", () => {
  const said = (answer: string) => judge({ kind: "yes-no", answer: "no" }, answer);
  expect(["No.", "**no**", "The answer is no."].map(said)).toEqual([1, 1, 1]);
  expect(
    ["not sure", "no, it is not", "", "none", "yes", "Cannot tell", "no no"].map(said),
  ).toEqual([0, 0, 0, 0, 0, 0, 0]);
});

test("polygons and what is not there", () => {
  const polygon = [[0, 0], [10, 0], [0, 10]] as const; // prettier-ignore
  const inside = (answer: string) =>
    judge({ kind: "point", answer: { polygon: polygon.map(([x, y]) => [x, y] as const) } }, answer);
  expect(["(1, 1)", "(9, 9)", "(0, 0)", "(5, 5)", "(5.1, 5)"].map(inside)).toEqual([1, 0, 1, 1, 0]);
  const absent = (answer: string) => judge({ kind: "point", answer: { absent: true } }, answer);
  expect(["(-1, -1)", "(0, 0)", "(-1, 5)", "none", ""].map(absent)).toEqual([1, 0, 0, 0, 0]);
});
