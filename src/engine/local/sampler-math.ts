/**
 * Drawing one token from one distribution, in plain JavaScript: top-k, top-p and the inverse of the
 * cumulative distribution at a given uniform number. Small vocabularies are sampled here; large ones
 * by the same rule on tensors (`draw-large.ts`). The softmax, with its temperature, happens before.
 *
 * The order of the rule: top-k keeps the k likeliest (ties: the lower id), top-p keeps of those the
 * shortest likeliest-first run whose share reaches p, and the draw walks what is left by token id.
 */

/** What one draw needs besides the distribution. */
export interface Draw {
  /** Uniform number in [0, 1). */
  readonly uniform: number;
  /** Share of probability to keep, in (0, 1]; 1 keeps all. */
  readonly topP: number;
  /** Number of tokens to keep; 0 keeps all. */
  readonly topK: number;
}

/**
 * Draws a token id from `probabilities` (non-negative, not necessarily of sum 1), whose entries
 * `offset … offset + size` are the distribution.
 */
export function drawToken(
  probabilities: Float32Array,
  offset: number,
  size: number,
  draw: Draw,
): number {
  const total = sumOf(probabilities, offset, size);
  if (draw.topP >= 1 && (draw.topK === 0 || draw.topK >= size))
    return walk(probabilities, offset, size, { floor: 0, ties: Infinity }, draw.uniform * total);
  const cut = cutOf(probabilities, offset, size, total, draw);
  return walk(probabilities, offset, size, cut, draw.uniform * cut.mass);
}

/** In four running sums, which do not wait for each other. */
function sumOf(values: Float32Array, offset: number, size: number): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const end = offset + size;
  let i = offset;
  for (; i + 3 < end; i += 4) {
    a += values[i];
    b += values[i + 1];
    c += values[i + 2];
    d += values[i + 3];
  }
  for (; i < end; i++) a += values[i];
  return a + b + (c + d);
}

/** What survives: every token above `floor`, and the first `ties` of those that equal it. */
interface Cut {
  readonly floor: number;
  readonly ties: number;
}

/** The first surviving id whose cumulative probability exceeds `target`; the last one if none does. */
function walk(
  probabilities: Float32Array,
  offset: number,
  size: number,
  { floor, ties }: Cut,
  target: number,
): number {
  let sum = 0;
  let last = 0;
  for (let i = 0; i < size; i++) {
    const p = probabilities[offset + i];
    if (p === 0 || p < floor || (p === floor && ties-- <= 0)) continue;
    sum += p;
    last = i;
    if (sum > target) return i;
  }
  return last;
}

/** Top-k and then top-p, with the probability of what they keep. */
function cutOf(
  probabilities: Float32Array,
  offset: number,
  size: number,
  total: number,
  { topP, topK }: Draw,
): Cut & { readonly mass: number } {
  const limit = topK === 0 ? size : Math.min(topK, size);
  // Tokens below this share hold together less than 1 − p, so none of them is in the run of top-p.
  const bound = limit === size ? ((1 - topP) * total) / size : 0;
  let sorted = probabilities.slice(offset, offset + size).filter((p) => p >= bound);
  sorted.sort().reverse();
  sorted = sorted.subarray(0, limit);
  let mass = total;
  if (limit < size) mass = sorted.reduce((sum, p) => sum + p, 0);
  let count = 0;
  let sum = 0;
  while (count < sorted.length && (topP >= 1 || sum < topP * mass)) sum += sorted[count++];
  const floor = sorted[Math.max(count, 1) - 1];
  return { floor, ties: Math.max(count, 1) - sorted.indexOf(floor), mass: sum };
}
