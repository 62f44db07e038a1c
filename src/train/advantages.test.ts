import fc from "fast-check";
import { expect, test } from "vitest";
import { groupAdvantages, isZeroVariance } from "./advantages.ts";

const round = (values: number[]) => values.map((value) => Math.round(value * 1000) / 1000);

test("normalised advantages of the published vector", () => {
  const rewards = [1, 0.5, 0.5, 0, 1];
  expect(round(groupAdvantages(rewards, "normalised"))).toEqual([
    0.956, -0.239, -0.239, -1.434, 0.956,
  ]);
  expect(round(groupAdvantages(rewards, "centred"))).toEqual([0.4, -0.1, -0.1, -0.6, 0.4]);
});

test("advantages sum to zero over the included members, whatever the others got", () => {
  const rewards = fc.array(fc.float({ min: -5, max: 5, noNaN: true }), {
    minLength: 2,
    maxLength: 16,
  });
  fc.assert(
    fc.property(rewards, fc.constantFrom("centred", "normalised"), (rewards_G, kind) => {
      const included = rewards_G.map((_, member) => member % 3 !== 2);
      const advantages = groupAdvantages(rewards_G, kind, included);
      expect(advantages.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 4);
      advantages.forEach((value, member) => {
        if (!included[member]) expect(value).toBe(0);
      });
    }),
  );
});

test("a masked member does not move the baseline", () => {
  const masked = groupAdvantages([1, 0, 0], "centred", [true, true, false]);
  expect(masked).toEqual([0.5, -0.5, 0]);
});

test("groups without a spread, and bad rewards", () => {
  expect(isZeroVariance([0.5, 0.5, 0.5])).toBe(true);
  expect(isZeroVariance([0.5, 0.5, 1])).toBe(false);
  expect(isZeroVariance([0.5, 1], [true, false])).toBe(true);
  expect(groupAdvantages([1, 1], "normalised")).toEqual([0, 0]);
  expect(groupAdvantages([3], "centred")).toEqual([0]);
  expect(() => groupAdvantages([1, NaN], "centred")).toThrow("reward 1 of a group is NaN");
});
