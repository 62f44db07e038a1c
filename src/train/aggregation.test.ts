import fc from "fast-check";
import { expect, test } from "vitest";
import { aggregationWeights, type Aggregation } from "./aggregation.ts";

const masks = [
  [0, 1, 1],
  [0, 0, 0],
  [1, 1, 1, 1, 0],
];

function weights(aggregation: Aggregation): number[][] {
  return aggregationWeights(masks, aggregation).map((row) => [...row].map((w) => +w.toFixed(6)));
}

test("weights of a small batch, by hand", () => {
  const sixth = 0.166667;
  expect(weights({ kind: "tokenMean" })).toEqual([
    [0, sixth, sixth],
    [0, 0, 0],
    [sixth, sixth, sixth, sixth, 0],
  ]);
  expect(weights({ kind: "sequenceMean" })).toEqual([
    [0, 0.25, 0.25],
    [0, 0, 0],
    [0.125, 0.125, 0.125, 0.125, 0],
  ]);
  expect(weights({ kind: "constantLength", length: 10 })).toEqual([
    [0, 0.05, 0.05],
    [0, 0, 0],
    [0.05, 0.05, 0.05, 0.05, 0],
  ]);
  expect(weights({ kind: "microBatchMean", microBatch: 2 })).toEqual([
    [0, 0.25, 0.25],
    [0, 0, 0],
    [0.125, 0.125, 0.125, 0.125, 0],
  ]);
});

test("token and sequence means sum to one, for any masks", () => {
  const mask = fc.array(fc.constantFrom(0, 1), { maxLength: 20 });
  fc.assert(
    fc.property(fc.array(mask, { minLength: 1, maxLength: 8 }), (rows) => {
      fc.pre(rows.flat().includes(1));
      for (const kind of ["tokenMean", "sequenceMean"] as const) {
        const total = aggregationWeights(rows, { kind })
          .flatMap((row) => [...row])
          .reduce((a, b) => a + b, 0);
        expect(total).toBeCloseTo(1, 5);
      }
    }),
  );
});

test("an empty batch is an error", () => {
  expect(() => aggregationWeights([[0, 0]], { kind: "tokenMean" })).toThrow("empty batch");
  expect(() => aggregationWeights([], { kind: "tokenMean" })).toThrow("empty batch");
});
