/**
 * Uniform numbers that are a pure function of (seed, n): the n-th token of a sample draws the same
 * number whatever else the engine does meanwhile, so results never depend on concurrency.
 * Source: Philox 4×32, 10 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 */

/** Uniform in [0, 1) with 53 bits for counter `n` of the stream `seed`; both non-negative integers. */
export function counterUniform(seed: number, n: number): number {
  const [a, b] = philox([n >>> 0, high(n), 0, 0], [seed >>> 0, high(seed)]);
  return ((a >>> 5) * 2 ** 26 + (b >>> 6)) / 2 ** 53;
}

/** Philox 4×32-10: four 32-bit words of counter and two of key give four 32-bit words. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Bits 32…52 of a safe integer. */
function high(value: number): number {
  return Math.floor(value / 2 ** 32) >>> 0;
}

/** The upper 32 bits of the product of two unsigned 32-bit integers. */
function multiplyHigh(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = (middle & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}
