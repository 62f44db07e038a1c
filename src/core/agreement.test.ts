import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { krippendorffAlpha, type Level } from "./agreement.ts";

const caseSchema = z.object({
  name: z.string(),
  ratings: z.array(z.array(z.number().nullable())),
  alpha: z.object({ nominal: z.number(), ordinal: z.number(), interval: z.number() }),
});
const fixture = readFileSync(new URL("fixtures/agreement.json", import.meta.url), "utf8");
const cases = z.array(caseSchema).parse(JSON.parse(fixture));
const levels: Level[] = ["nominal", "ordinal", "interval"];

/** The values of each unit, from one row a rater. */
const unitsOf = (ratings: readonly (readonly (number | null)[])[]) =>
  ratings[0].map((_, unit) => ratings.flatMap((row) => row[unit] ?? []));

test.each(cases)("α of $name is the package's at every level", ({ ratings, alpha }) => {
  for (const level of levels)
    expect(krippendorffAlpha(unitsOf(ratings), level)).toBeCloseTo(alpha[level], 12);
});

test("the published example has the published α, to its three digits", () => {
  const units = unitsOf(cases[0].ratings);
  const printed = { nominal: 0.743, ordinal: 0.815, interval: 0.849 };
  for (const level of levels)
    expect(krippendorffAlpha(units, level)?.toFixed(3)).toBe(String(printed[level]));
});

test("α is not defined where nothing was rated twice, or everything the same", () => {
  expect(krippendorffAlpha([], "nominal")).toBeNull();
  expect(krippendorffAlpha([[1], [2], []], "ordinal")).toBeNull();
  expect(
    krippendorffAlpha(
      [
        [3, 3],
        [3, 3, 3],
      ],
      "interval",
    ),
  ).toBeNull();
});

test("raters who agree have α 1, and the order of units and ratings does not matter", () => {
  const unit = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 5 });
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 12 }), fc.constantFrom(...levels), (units, level) => {
      const alpha = krippendorffAlpha(units, level);
      const turned = units.map((values) => values.toReversed()).toReversed();
      const other = krippendorffAlpha(turned, level);
      if (alpha === null) expect(other).toBeNull();
      else expect(other).toBeCloseTo(alpha, 9);
      const agreed = units.map((values) => values.map(() => values[0]));
      expect(krippendorffAlpha(agreed, level) ?? 1).toBeCloseTo(1, 12);
    }),
  );
});
