/**
 * Rotary positions, in plain numbers. The language model rotates by three positions at once (time,
 * height, width: M-RoPE, Qwen2-VL §2.1): text moves all three together, an image lies still in time
 * and spans its merged grid in height and width, and what follows goes on after its larger side. The
 * vision tower rotates one half of its frequencies by the row of a patch and the other by its column.
 */
import type { TextConfig, VisionConfig, YarnConfig } from "./config.ts";

/** Grid of an image in patches, before merging. */
export interface Grid {
  readonly t: number;
  readonly h: number;
  readonly w: number;
}

/** A stretch of a sequence: so many text tokens, or one image. */
export type Span =
  | { readonly type: "text"; readonly length: number }
  | { readonly type: "image"; readonly grid: Grid };

/** Positions of T tokens: `axes[0..2]` are time, height, width, each of length T. */
export interface MropePositions {
  readonly axes: readonly [Int32Array, Int32Array, Int32Array];
  /** Position of the text token that would come next, on all three axes. */
  readonly next: number;
}

/** Number of language positions that an image of this grid takes. */
export function numImageTokens(grid: Grid, mergeSize: number): number {
  return (grid.t * grid.h * grid.w) / (mergeSize * mergeSize);
}

/**
 * Position ids of a sequence of spans, starting at `start` (the `next` of what came before).
 * An image at position p covers p…p+rows-1 and p…p+columns-1 of its merged grid; the token after it
 * stands at p + max(rows, columns).
 */
export function mropePositions(
  spans: readonly Span[],
  mergeSize: number,
  start = 0,
): MropePositions {
  let total = 0;
  for (const span of spans)
    total += span.type === "text" ? span.length : numImageTokens(span.grid, mergeSize);
  const axes: [Int32Array, Int32Array, Int32Array] = [
    new Int32Array(total),
    new Int32Array(total),
    new Int32Array(total),
  ];
  let at = 0;
  let next = start;
  for (const span of spans) {
    if (span.type === "text") {
      for (let i = 0; i < span.length; i++, at++, next++) for (const axis of axes) axis[at] = next;
      continue;
    }
    const rows = span.grid.h / mergeSize;
    const columns = span.grid.w / mergeSize;
    for (let frame = 0; frame < span.grid.t; frame++) {
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++, at++) {
          axes[0][at] = next + frame;
          axes[1][at] = next + row;
          axes[2][at] = next + column;
        }
      }
    }
    next += Math.max(rows, columns);
  }
  return { axes, next };
}

/** Cosines and sines of positions 0…numPositions-1 at the given frequencies F, scaled, [P, F, 2]. */
export function rotaryBlock(
  frequencies: readonly number[],
  numPositions: number,
  scale = 1,
): Float32Array {
  const block = new Float32Array(numPositions * frequencies.length * 2);
  let at = 0;
  for (let position = 0; position < numPositions; position++) {
    for (const frequency of frequencies) {
      const angle = Math.fround(position * frequency);
      // What does not rotate passes as it is.
      const length = frequency === 0 ? 1 : scale;
      block[at++] = length * Math.cos(angle);
      block[at++] = length * Math.sin(angle);
    }
  }
  return block;
}

/**
 * The pairs of one head: how fast each rotates, not at all where that is zero, and which axis of positions
 * it follows.
 */
export interface RotaryPairs {
  readonly frequencies: readonly number[];
  readonly axes: readonly number[];
  /** What queries and keys grow by when they are rotated. */
  readonly scale: number;
}

/**
 * Pairs of a head of the language model, as `mropeSection` shares them out among time, height and width
 * (0, 1, 2): a stretch each, or by turns, where an axis that has its share leaves its turn to time.
 */
export function textPairs(config: TextConfig): RotaryPairs {
  const { mropeSection: section, headDim, rotaryDim, ropeTheta, mropeInterleaved, yarn } = config;
  const plain = inverseFrequencies(rotaryDim / 2, ropeTheta);
  const still = Array<number>((headDim - rotaryDim) / 2).fill(0);
  const frequencies = [...(yarn === undefined ? plain : stretched(plain, config, yarn)), ...still];
  const stretches = section.flatMap((count, axis) => Array<number>(count).fill(axis));
  const turns = stretches.map((_, j) => (j < 3 * section[j % 3] ? j % 3 : 0));
  const scale = yarn?.attentionFactor ?? 1;
  const axes = [...(mropeInterleaved ? turns : stretches), ...still];
  return { frequencies, axes, scale };
}

/**
 * Frequencies for longer texts (YaRN, arXiv:2309.00071, §3.2): fast pairs as they are, slow ones slowed
 * down by the factor, and a ramp between those that turn `betaFast` and `betaSlow` times in the original
 * length.
 */
function stretched(
  frequencies: readonly number[],
  { rotaryDim, ropeTheta }: TextConfig,
  { factor, originalMaxPositions, betaFast, betaSlow, truncate }: YarnConfig,
): number[] {
  const pairTurning = (times: number): number =>
    (rotaryDim * Math.log(originalMaxPositions / (times * 2 * Math.PI))) /
    (2 * Math.log(ropeTheta));
  const [fast, slow] = [pairTurning(betaFast), pairTurning(betaSlow)];
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const last = Math.min(truncate ? Math.ceil(slow) : slow, rotaryDim - 1);
  const high = last === low ? last + 0.001 : last;
  return frequencies.map((frequency, j) => {
    const ramp = Math.min(Math.max((j - low) / (high - low), 0), 1);
    return Math.fround((frequency / factor) * ramp + frequency * (1 - ramp));
  });
}

/** Pairs of a head of the tower: row and column (0, 1) take a full set of frequencies each. */
export function visionPairs(config: VisionConfig): RotaryPairs {
  const quarter = inverseFrequencies(config.hiddenSize / config.numHeads / 4, config.ropeTheta);
  return {
    frequencies: [...quarter, ...quarter],
    axes: [0, 1].flatMap((axis) => quarter.map(() => axis)),
    scale: 1,
  };
}

/** theta^(-j / count) in single precision, as the published implementation computes it. */
function inverseFrequencies(count: number, theta: number): number[] {
  return Array.from({ length: count }, (_, j) =>
    Math.fround(1 / Math.fround(theta ** Math.fround(j / count))),
  );
}
