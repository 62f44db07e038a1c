import fc from "fast-check";
import { expect, test } from "vitest";
import { drawToken } from "./sampler-math.ts";

const probabilities = Float32Array.of(0.125, 0.5, 0.25, 0.125);
const draw = (uniform: number, topP = 1, topK = 0) =>
  drawToken(probabilities, 0, 4, { uniform, topP, topK });

test("without truncation the draw inverts the cumulative distribution by id", () => {
  expect([0, 0.12, 0.125, 0.6, 0.625, 0.87, 0.875, 0.9999].map((u) => draw(u))).toEqual([
    0, 0, 1, 1, 2, 2, 3, 3,
  ]);
});

test("top-k keeps the likeliest, the lower id on a tie", () => {
  // Kept 1, 2 and 0 (not 3): shares 0.125, 0.5, 0.25 of 0.875, walked as 0, 1, 2.
  expect([0, 0.14, 0.15, 0.71, 0.72, 0.99].map((u) => draw(u, 1, 3))).toEqual([0, 0, 1, 1, 2, 2]);
  expect(draw(0.999, 1, 1)).toBe(1);
});

test("top-p keeps the shortest run that reaches its share", () => {
  expect([0, 0.66, 0.67, 0.99].map((u) => draw(u, 0.75))).toEqual([1, 1, 2, 2]);
  expect([0, 0.99].map((u) => draw(u, 0.5))).toEqual([1, 1]);
  // 0.76 needs one of the two that tie at 0.125: the lower id.
  expect([0, 0.15, 0.99].map((u) => draw(u, 0.76))).toEqual([0, 1, 2]);
});

test("top-p counts shares of what top-k left", () => {
  // Of 0.5 and 0.25, the first alone is two thirds.
  expect(draw(0.99, 0.6, 2)).toBe(1);
  expect(draw(0.99, 0.7, 2)).toBe(2);
});

test("a row inside a batch gives what it gives alone, and never an impossible token", () => {
  fc.assert(
    fc.property(
      fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      fc.nat({ max: 8 }),
      (row, uniform, topP, topK) => {
        fc.pre(row.some((p) => p > 0));
        const alone = drawToken(Float32Array.from(row), 0, row.length, { uniform, topP, topK });
        const batch = Float32Array.from([...row.map((p) => 1 - p), ...row, ...row]);
        expect(drawToken(batch, row.length, row.length, { uniform, topP, topK })).toBe(alone);
        expect(row[alone]).toBeGreaterThan(0);
      },
    ),
  );
});
