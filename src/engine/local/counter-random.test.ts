import { expect, test } from "vitest";
import { counterUniform, philox } from "./counter-random.ts";

// Known answers published with Random123 (kat_vectors, philox4x32 10).
test("philox gives the published words", () => {
  expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([
    0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
  ]);
  expect(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
  ).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
});

test("counterUniform is uniform, and differs by seed beyond 32 bits", () => {
  const draws = Array.from({ length: 20_000 }, (_, n) => counterUniform(7, n));
  expect(Math.min(...draws)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...draws)).toBeLessThan(1);
  const mean = draws.reduce((sum, u) => sum + u, 0) / draws.length;
  expect(mean).toBeCloseTo(0.5, 2);
  expect(counterUniform(7, 3)).toBe(draws[3]);
  expect(counterUniform(7 + 2 ** 40, 3)).not.toBe(draws[3]);
});
