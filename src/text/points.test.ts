import fc from "fast-check";
import { expect, test } from "vitest";
import { countDistinct, formatPoint, parsePoint, scanPoints } from "./points.ts";

test.each([
  ["at (57, 83).", ["(57, 83)"]],
  ["(1,2)(3 , 4)", ["(1,2)", "(3 , 4)"]],
  ["( 50, 60 )", ["( 50, 60 )"]],
  ["(50.5, 60)", ["(50.5, 60)"]],
  ["(-5, 60)", ["(-5, 60)"]],
  ["(1, 2, 3) [4, 5] (a, b) (6)", []],
])("%j", (text, written) => {
  expect(scanPoints(text).map((p) => p.text)).toEqual(written);
});

test("what formatPoint writes is read back, alone and in prose", () => {
  const value = fc.integer({ min: -999, max: 99_999 });
  fc.assert(
    fc.property(fc.record({ x: value, y: value }), (at) => {
      expect(parsePoint(formatPoint(at))).toEqual(at);
      expect(scanPoints(`so ${formatPoint(at)}.`)[0]).toMatchObject(at);
    }),
  );
});

test("parsePoint wants a point and nothing else", () => {
  expect(parsePoint(" (55, 65)\n")).toEqual({ x: 55, y: 65 });
  for (const text of ["55, 65", "[55, 65]", "at (55, 65)", "(55, 65) or (1, 2)", ""])
    expect(parsePoint(text)).toBeNull();
});

test("distinct places are counted greedily at the bound", () => {
  const at = (x: number, y: number) => ({ x, y });
  expect(countDistinct([], 10)).toBe(0);
  expect(countDistinct([at(1, 1), at(2, 2)], 10)).toBe(1);
  expect(countDistinct([at(0, 0), at(6, 8)], 10)).toBe(2);
  expect(countDistinct([at(0, 0), at(9, 0), at(18, 0)], 10)).toBe(2);
});
