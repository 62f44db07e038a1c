import fc from "fast-check";
import { expect, test } from "vitest";
import { stream } from "./random.ts";
import {
  bootstrapDifference,
  bootstrapMean,
  bootstrapUnpaired,
  mcNemar,
  mean,
  normalInterval,
  wilsonInterval,
} from "./statistics.ts";

test("mean refuses an empty list", () => {
  expect(mean([1, 2, 6])).toBe(3);
  expect(() => mean([])).toThrow("empty");
});

test("Wilson interval agrees with published values", () => {
  // Newcombe (1998), table I: 81 of 263, and 0 of 20.
  const [low, high] = wilsonInterval(81, 263);
  expect(low).toBeCloseTo(0.2553, 4);
  expect(high).toBeCloseTo(0.3662, 4);
  expect(wilsonInterval(0, 20)[0]).toBe(0);
  expect(wilsonInterval(0, 20)[1]).toBeCloseTo(0.1611, 4);
});

test("Wilson interval holds the proportion and stays in [0, 1]", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (n, share) => {
        const successes = Math.round(share * n);
        const [low, high] = wilsonInterval(successes, n);
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(1);
        expect(low).toBeLessThanOrEqual(successes / n + 1e-12);
        expect(high).toBeGreaterThanOrEqual(successes / n - 1e-12);
      },
    ),
  );
});

test("the bootstrap brackets a clear difference and is seeded", () => {
  const a = Array.from({ length: 400 }, (_, i) => (i % 10 < 9 ? 1 : 0));
  const b = Array.from({ length: 400 }, (_, i) => (i % 10 < 6 ? 1 : 0));
  const first = bootstrapDifference(a, b, { seed: 3 });
  expect(first.difference).toBeCloseTo(0.3, 10);
  expect(first.interval[0]).toBeGreaterThan(0.24);
  expect(first.interval[1]).toBeLessThan(0.36);
  expect(bootstrapDifference(a, b, { seed: 3 })).toEqual(first);
});

test("McNemar is exact on small counts and sane on large ones", () => {
  const pairs = (onlyA: number, onlyB: number, both: number) => ({
    a: [...Array<boolean>(onlyA + both).fill(true), ...Array<boolean>(onlyB).fill(false)],
    b: [
      ...Array<boolean>(onlyA).fill(false),
      ...Array<boolean>(both).fill(true),
      ...Array<boolean>(onlyB).fill(true),
    ],
  });
  const small = pairs(9, 1, 20);
  // 2 · (C(10,0) + C(10,1)) / 2^10
  expect(mcNemar(small.a, small.b)).toBeCloseTo(22 / 1024, 10);
  const even = pairs(5, 5, 3);
  expect(mcNemar(even.a, even.b)).toBe(1);
  const large = pairs(2000, 1500, 0);
  expect(mcNemar(large.a, large.b)).toBeLessThan(1e-10);
  expect(mcNemar([true], [true])).toBe(1);
});

test("a mean's interval holds it, and is that of a difference with nothing", () => {
  const values = [3, 1, 4, 1, 5, 9, 2, 6];
  const { mean: middle, interval } = bootstrapMean(values, { seed: 4 });
  expect(middle).toBeCloseTo(31 / 8, 12);
  expect(interval[0]).toBeLessThan(middle);
  expect(interval[1]).toBeGreaterThan(middle);
  const zeros = values.map(() => 0);
  expect(bootstrapDifference(values, zeros, { seed: 4 }).interval).toEqual(interval);
  expect(() => bootstrapMean([])).toThrow("empty list");
});

test("two samples without pairs: the interval is wider than of the same values in pairs", () => {
  const a = Array.from({ length: 40 }, (_, i) => i);
  const b = a.map((value) => value - 1);
  const { difference, interval } = bootstrapUnpaired(a, b);
  expect(difference).toBeCloseTo(1, 12);
  expect(interval[0]).toBeLessThan(-2);
  expect(interval[1]).toBeGreaterThan(4);
  expect(bootstrapDifference(a, b).interval).toEqual([1, 1]);
  expect(bootstrapUnpaired(a, b)).toEqual({ difference, interval });
});

test("of a large sample, the standard error says what the bootstrap says", () => {
  const rng = stream(3, "values");
  const a = Array.from({ length: 1500 }, () => rng.int(0, 4));
  const b = Array.from({ length: 900 }, () => rng.int(0, 9));
  const drawn = bootstrapMean(a);
  const [low, high] = normalInterval(drawn.mean, a);
  expect(Math.abs(low - drawn.interval[0])).toBeLessThan(0.01);
  expect(Math.abs(high - drawn.interval[1])).toBeLessThan(0.01);
  const apart = bootstrapUnpaired(a, b);
  normalInterval(apart.difference, a, b).forEach((end, i) =>
    expect(Math.abs(end - apart.interval[i])).toBeLessThan(0.03),
  );
});
