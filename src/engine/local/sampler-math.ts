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
  let total = 0;
  for (let i = 0; i < size; i++) total += probabilities[offset + i];
  if (draw.topP >= 1 && (draw.topK === 0 || draw.topK >= size))
    return walk(probabilities, offset, size, draw.uniform * total);
  const kept = keptTokens(probabilities, offset, size, total, draw);
  kept.sort((a, b) => a - b);
  let mass = 0;
  for (const id of kept) mass += probabilities[offset + id];
  const target = draw.uniform * mass;
  let sum = 0;
  for (const id of kept) {
    sum += probabilities[offset + id];
    if (sum > target) return id;
  }
  return kept[kept.length - 1];
}

/** The first id whose cumulative probability exceeds `target`; the last possible one when none does. */
function walk(probabilities: Float32Array, offset: number, size: number, target: number): number {
  let sum = 0;
  let last = 0;
  for (let i = 0; i < size; i++) {
    const p = probabilities[offset + i];
    if (p === 0) continue;
    sum += p;
    last = i;
    if (sum > target) return i;
  }
  return last;
}

/** Ids that survive top-k and then top-p, likeliest first. */
function keptTokens(
  probabilities: Float32Array,
  offset: number,
  size: number,
  total: number,
  { topP, topK }: Draw,
): number[] {
  const limit = topK === 0 ? size : Math.min(topK, size);
  // Tokens below this share hold together less than 1 − p, so none of them is in the run of top-p.
  const floor = limit === size ? ((1 - topP) * total) / size : 0;
  const candidates: number[] = [];
  for (let i = 0; i < size; i++) if (probabilities[offset + i] >= floor) candidates.push(i);
  candidates.sort((a, b) => probabilities[offset + b] - probabilities[offset + a] || a - b);
  candidates.length = Math.min(limit, candidates.length);
  if (topP >= 1) return candidates;
  let mass = total;
  if (limit < size) {
    mass = 0;
    for (const id of candidates) mass += probabilities[offset + id];
  }
  let sum = 0;
  let count = 0;
  while (count < candidates.length && sum < topP * mass)
    sum += probabilities[offset + candidates[count++]];
  candidates.length = Math.max(count, 1);
  return candidates;
}
