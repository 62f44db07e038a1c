/**
 * The few statistics that reports need: means with intervals, and tests between two arms that
 * answered the same questions. Distributions come from simple-statistics. All intervals are
 * two-sided at 95 %.
 */
import { gammaln, mean as sampleMean, quantileSorted, sampleVariance } from "simple-statistics";
import { stream, type Rng } from "./random.ts";

/** Quantile 0.975 of the standard normal; the library's `probit` is right to 3e-3 only. */
const Z_95 = 1.959963984540054;

/** A two-sided interval, low first. */
export type Interval = readonly [low: number, high: number];

/** Arithmetic mean. Throws on an empty list. */
export function mean(values: readonly number[]): number {
  if (values.length === 0) throw new Error("mean of an empty list");
  return sampleMean([...values]);
}

/**
 * Wilson score interval of a proportion; `successes` may be fractional (graded answers in [0, 1]).
 * Stays inside [0, 1] and is sensible at 0 and at n. An empty sample gives [0, 1].
 */
export function wilsonInterval(successes: number, n: number): Interval {
  if (n === 0) return [0, 1];
  const z = Z_95;
  const p = successes / n;
  const centre = p + (z * z) / (2 * n);
  const spread = z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  const scale = 1 + (z * z) / n;
  // At the ends the bounds are exact, where rounding would leave 5e-17.
  const low = successes <= 0 ? 0 : Math.max(0, (centre - spread) / scale);
  return [low, successes >= n ? 1 : Math.min(1, (centre + spread) / scale)];
}

/**
 * Interval of the mean of values in [0, 1] that are themselves means of several draws, one a cluster:
 * Wilson's at the effective number of clusters, p (1 − p) over the variance of the mean (Korn and
 * Graubard 1998, with Wilson's interval in place of Clopper and Pearson's). For values of 0 and 1 that is
 * `wilsonInterval`. An empty sample gives [0, 1].
 * @param draws all draws together: no interval is narrower than theirs if each stood alone
 */
export function meanInterval(values: readonly number[], draws: number): Interval {
  const n = values.length;
  if (n === 0) return [0, 1];
  const p = mean(values);
  const spread = values.reduce((sum, value) => sum + (value - p) ** 2, 0);
  const effective = spread === 0 ? draws : (p * (1 - p) * n * n) / spread;
  // At 0 and 1 nothing is known of the variance.
  const clusters = p <= 0 || p >= 1 ? n : Math.min(Math.max(n, effective), draws);
  return wilsonInterval(p * clusters, clusters);
}

/**
 * Percentile bootstrap of mean(a) − mean(b) for two arms over the same questions: `a[i]` and `b[i]`
 * belong together and are resampled together.
 */
export function bootstrapDifference(
  a: readonly number[],
  b: readonly number[],
  options: BootstrapOptions = {},
): { difference: number; interval: Interval } {
  requirePairs(a, b);
  const { mean: difference, interval } = bootstrapMean(
    a.map((value, i) => value - b[i]),
    options,
  );
  return { difference, interval };
}

export interface BootstrapOptions {
  readonly seed?: number;
  readonly resamples?: number;
}

/** Percentile bootstrap of a mean. Throws on an empty list. */
export function bootstrapMean(
  values: readonly number[],
  { seed = 0, resamples = 2000 }: BootstrapOptions = {},
): { mean: number; interval: Interval } {
  const draw = meanOfDrawn(values, stream(seed, "bootstrap", values.length));
  return { mean: mean(values), interval: middle(Array.from({ length: resamples }, draw)) };
}

/** As `bootstrapDifference` of two samples that have nothing to do with each other. */
export function bootstrapUnpaired(
  a: readonly number[],
  b: readonly number[],
  { seed = 0, resamples = 2000 }: BootstrapOptions = {},
): { difference: number; interval: Interval } {
  const [drawA, drawB] = [a, b].map((values, i) =>
    meanOfDrawn(values, stream(seed, "bootstrap", i, values.length)),
  );
  const differences = Array.from({ length: resamples }, () => drawA() - drawB());
  return { difference: mean(a) - mean(b), interval: middle(differences) };
}

/** The interval of a sum of independent means, from their values alone: for samples too large to draw again. */
export function normalInterval(
  middle: number,
  ...samples: readonly (readonly number[])[]
): Interval {
  const variances = samples.map((values) => sampleVariance([...values]) / values.length);
  const spread = Z_95 * Math.sqrt(variances.reduce((sum, variance) => sum + variance, 0));
  return [middle - spread, middle + spread];
}

/** Means of as many values as there are, drawn with replacement. */
function meanOfDrawn(values: readonly number[], rng: Rng): () => number {
  const n = values.length;
  return () => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += values[rng.int(0, n - 1)];
    return sum / n;
  };
}

/** Between the quantiles 0.025 and 0.975. */
function middle(values: number[]): Interval {
  const sorted = values.sort((x, y) => x - y);
  return [quantileSorted(sorted, 0.025), quantileSorted(sorted, 0.975)];
}

/**
 * Mean of the means of groups, such as seeds, with its 95 % interval by bootstrap over groups and,
 * within each, over values. One group says
 * nothing about others: its interval is over its values alone.
 * @param values by group
 */
export function bootstrapNested(
  values: readonly (readonly number[])[],
  { seed = 0, resamples = 2000 } = {},
): { mean: number; interval: Interval } {
  const rng = stream(seed, "nested-bootstrap", values.length);
  const numGroups = values.length;
  const means = Array.from({ length: resamples }, () => {
    let sum = 0;
    for (let g = 0; g < numGroups; g++) {
      const some = values[numGroups === 1 ? 0 : rng.int(0, numGroups - 1)];
      let part = 0;
      for (let i = 0; i < some.length; i++) part += some[rng.int(0, some.length - 1)];
      sum += part / some.length;
    }
    return sum / numGroups;
  });
  return { mean: mean(values.map(mean)), interval: middle(means) };
}

/**
 * Exact two-sided McNemar test on paired yes/no outcomes: the probability of a split of the
 * disagreements at least this uneven when both arms are equally good. 1 where they never disagree.
 */
export function mcNemar(a: readonly boolean[], b: readonly boolean[]): number {
  requirePairs(a, b);
  let onlyA = 0;
  let onlyB = 0;
  for (let i = 0; i < a.length; i++) {
    if (a[i] && !b[i]) onlyA++;
    if (b[i] && !a[i]) onlyB++;
  }
  const n = onlyA + onlyB;
  const fewer = Math.min(onlyA, onlyB);
  let tail = 0;
  for (let k = 0; k <= fewer; k++) tail += Math.exp(logBinomial(n, k) - n * Math.LN2);
  return Math.min(1, 2 * tail);
}

function logBinomial(n: number, k: number): number {
  return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1);
}

function requirePairs(a: readonly unknown[], b: readonly unknown[]): void {
  if (a.length !== b.length) throw new Error(`paired arms differ: ${a.length} and ${b.length}`);
  if (a.length === 0) throw new Error("paired arms are empty");
}
