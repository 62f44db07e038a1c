import fc from "fast-check";
import { expect, test } from "vitest";
import { bestChild, uctScore } from "./uct.ts";

const visited = (value: number, visits: number, virtual = 0) => ({ value, visits, virtual });

test("the published vector: value 0.5, 4 of 12 visits, c 2.0", () => {
  expect(uctScore("repo", visited(0.5, 4), 12, 2)).toBeCloseTo(1.9325, 4);
});

test("the paper's form has no smoothing", () => {
  expect(uctScore("paper", visited(0.5, 4), 12, 2)).toBeCloseTo(
    0.5 + 2 * Math.sqrt(Math.log(12) / 4),
    12,
  );
  expect(uctScore("paper", visited(0, 0), 12, 2)).toBe(Infinity);
  expect(uctScore("repo", visited(0, 0), 12, 2)).toBeCloseTo(2 * Math.sqrt(Math.log(13)), 12);
});

test("a simulation on its way counts as a visit that brought nothing", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 0, max: 10 }),
      fc.constantFrom("paper" as const, "repo" as const),
      (value, visits, virtual, form) => {
        const real = visited((value * visits) / (visits + virtual), visits + virtual);
        expect(uctScore(form, visited(value, visits, virtual), 100, 1.4)).toBeCloseTo(
          uctScore(form, real, 100, 1.4),
          12,
        );
      },
    ),
  );
});

test("the best child is the first of equals, and less likely once a simulation is on its way", () => {
  const parent = visited(0.5, 6);
  const children = [visited(0.5, 3), visited(0.5, 3)];
  expect(bestChild("repo", parent, children, 2)).toBe(children[0]);
  const busy = [visited(0.5, 3, 1), visited(0.5, 3)];
  expect(bestChild("repo", visited(0.5, 6, 1), busy, 2)).toBe(busy[1]);
  expect(bestChild("repo", parent, [], 2)).toBeUndefined();
});
