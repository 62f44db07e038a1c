import fc from "fast-check";
import { expect, test } from "vitest";
import { microBatches } from "./micro-batches.ts";

test("neighbours in length share a micro-batch of bounded padded size", () => {
  expect(microBatches([5, 3, 3, 9, 1], 10)).toEqual([[4, 1, 2], [0], [3]]);
  expect(microBatches([30, 2], 10)).toEqual([[1], [0]]);
  expect(microBatches([], 10)).toEqual([]);
});

test("every item comes once and no group of several exceeds the bound", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 50 })),
      fc.integer({ min: 1, max: 200 }),
      (lengths, bound) => {
        const groups = microBatches(lengths, bound);
        expect(groups.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
        for (const group of groups) {
          const longest = Math.max(...group.map((i) => lengths[i]));
          if (group.length > 1) expect(group.length * longest).toBeLessThanOrEqual(bound);
        }
      },
    ),
  );
});
