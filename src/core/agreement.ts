/**
 * Agreement between raters: Krippendorff's α (Krippendorff, "Computing Krippendorff's Alpha-Reliability",
 * 2011). 1: they agree on everything; 0: as much as by chance; below 0: less than that. Any number of
 * raters, ratings may be missing, and who gave a rating does not matter.
 */

/** How far apart two values are: equal or not, by their ranks, or by their difference. */
export type Level = "nominal" | "ordinal" | "interval";

/**
 * α over units, each with the values that it was given. Units with fewer than two values say nothing.
 * Null where it is not defined: no unit was rated twice, or all ratings are the same.
 */
export function krippendorffAlpha(
  units: readonly (readonly number[])[],
  level: Level,
): number | null {
  const paired = units.filter((values) => values.length > 1);
  const values = [...new Set(paired.flat())].sort((a, b) => a - b);
  const place = new Map(values.map((value, i) => [value, i]));
  const totals = values.map(() => 0);
  for (const value of paired.flat()) totals[place.get(value)!]++;
  const n = totals.reduce((sum, count) => sum + count, 0);
  const distance = distances(values, totals, level);

  let observed = 0;
  for (const unit of paired) {
    const counts = countsOf(unit.map((value) => place.get(value)!));
    for (const [a, ofA] of counts)
      for (const [b, ofB] of counts) observed += (ofA * ofB * distance(a, b)) / (unit.length - 1);
  }
  let expected = 0;
  for (let a = 0; a < values.length; a++)
    for (let b = 0; b < values.length; b++) expected += totals[a] * totals[b] * distance(a, b);
  return expected === 0 ? null : 1 - ((n - 1) * observed) / expected;
}

/** The squared difference of two values, which are given by their places in the list. */
function distances(
  values: readonly number[],
  totals: readonly number[],
  level: Level,
): (a: number, b: number) => number {
  if (level === "nominal") return (a, b) => (a === b ? 0 : 1);
  if (level === "interval") return (a, b) => (values[a] - values[b]) ** 2;
  let below = 0;
  const ranks = totals.map((count) => (below += count) - count / 2);
  return (a, b) => (ranks[a] - ranks[b]) ** 2;
}

function countsOf(places: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const at of places) counts.set(at, (counts.get(at) ?? 0) + 1);
  return counts;
}
