/**
 * The plates that things carry and what stands on them: a handwritten digit, or a sign, the small
 * silhouette of a shape.
 *
 * A plate is 19 × 19 canvas pixels of grey with a mark 11 pixels high: dark strokes in a light halo,
 * which together have no mean, over faint blotches as wide as a view pixel. Shrunk 4 times the strokes
 * average away and the blotches stay; enlarged 3.5 times the strokes stand out.
 */
import type { Rng } from "../core/random.ts";
import { inkHeightPx, inkSidePx, inksOf, inkRange, type Mark } from "./inks.ts";
import type { Split } from "./world.ts";

/** One mark on its plate: which image of it, how it is distorted, what blotches lie under it. */
export interface Plate {
  readonly mark: Mark;
  /** Index among the images of its mark. */
  readonly image: number;
  readonly degrees: number;
  readonly slant: number;
  readonly scale: number;
  /** 5 × 5 standard normal values, the corners of the blotches. */
  readonly blotches: readonly number[];
}

/** Side of a plate in canvas pixels. */
export const platePx = 19;
/** Side of the mark's box in canvas pixels. */
export const markPx = 11;

/** Draws a plate with a given mark or a random digit. `strength` scales the distortion (training: above 1). */
export function samplePlate(
  rng: Rng,
  split: Split,
  mark: Mark = rng.int(0, 9),
  strength = 1,
): Plate {
  const [first, end] = inkRange(mark, split);
  return {
    mark,
    image: rng.int(first, end - 1),
    degrees: strength * rng.uniform(-8, 8),
    slant: strength * rng.uniform(-0.12, 0.12),
    scale: 1 + strength * rng.uniform(-0.08, 0.08),
    blotches: Array.from({ length: 25 }, () => rng.normal()),
  };
}

/** Grey levels (0–255, real) of a plate, row by row, [platePx²]. */
export function plateLevels(plate: Plate): Float32Array {
  const ink = drawInk(plate);
  const inner = inkPx + 2 * margin;
  let strokes = subtract(ink, blur(ink, inner, 1.0));
  const peak = strokes.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
  strokes = strokes.map((value) => Math.max(-0.8, Math.min(1, (1.5 * value) / peak)));
  for (let round = 0; round < 2; round++) strokes = subtract(strokes, blur(strokes, inner, 1.5));

  const levels = new Float32Array(platePx * platePx);
  const inset = (inner - platePx) / 2;
  for (let y = 0; y < platePx; y++)
    for (let x = 0; x < platePx; x++) {
      const stroke = strokes[(y + inset) * inner + x + inset];
      const level = 160 - 140 * stroke + 24 * blotch(plate.blotches, x, y);
      levels[y * platePx + x] = Math.max(0, Math.min(255, level));
    }
  return levels;
}

/** Side of an image of ink once its mark is `markPx` high. */
const inkPx = 15;
const inkArea = inkSidePx * inkSidePx;
const margin = 4;
/** The mark's ink at canvas size with a margin around it; each pixel is the mean of 2 × 2 samples. */
function drawInk(plate: Plate): Float32Array {
  const source = inksOf(plate.mark);
  const base = plate.image * inkArea;
  const inner = inkPx + 2 * margin;
  const ink = new Float32Array(inner * inner);
  const turn = (plate.degrees * Math.PI) / 180;
  const zoom = inkHeightPx / markPx / plate.scale;
  const cos = Math.cos(turn) * zoom;
  const sin = Math.sin(turn) * zoom;
  for (let y = 0; y < inner; y++)
    for (let x = 0; x < inner; x++) {
      let sum = 0;
      for (let part = 0; part < 4; part++) {
        const dx = x + 0.25 + 0.5 * (part & 1) - inner / 2;
        const dy = y + 0.25 + 0.5 * (part >> 1) - inner / 2;
        const slanted = dx + plate.slant * dy;
        const imageX = cos * slanted + sin * dy + inkSidePx / 2 - 0.5;
        const imageY = cos * dy - sin * slanted + inkSidePx / 2 - 0.5;
        sum += sampleInk(source, base, imageX, imageY);
      }
      ink[y * inner + x] = sum / 4;
    }
  return ink;
}

function sampleInk(source: Float32Array, base: number, x: number, y: number): number {
  const x0 = Math.floor(x);
  const y0 = Math.floor(y);
  if (x0 < 0 || y0 < 0 || x0 >= inkSidePx - 1 || y0 >= inkSidePx - 1) return 0;
  const at = base + y0 * inkSidePx + x0;
  const fx = x - x0;
  const fy = y - y0;
  const upper = source[at] * (1 - fx) + source[at + 1] * fx;
  const lower = source[at + inkSidePx] * (1 - fx) + source[at + inkSidePx + 1] * fx;
  return upper * (1 - fy) + lower * fy;
}

/** Bilinear between the 5 × 5 corner values. */
function blotch(corners: readonly number[], x: number, y: number): number {
  const u = (x / (platePx - 1)) * 4;
  const v = (y / (platePx - 1)) * 4;
  const x0 = Math.min(3, Math.floor(u));
  const y0 = Math.min(3, Math.floor(v));
  const fx = u - x0;
  const fy = v - y0;
  const at = y0 * 5 + x0;
  return (
    (corners[at] * (1 - fx) + corners[at + 1] * fx) * (1 - fy) +
    (corners[at + 5] * (1 - fx) + corners[at + 6] * fx) * fy
  );
}

function subtract(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value - b[i]);
}

/** Gaussian blur of a square, zero outside. */
function blur(values: Float32Array, side: number, sigma: number): Float32Array {
  const radius = Math.ceil(3 * sigma);
  const weights = Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * sigma * sigma)),
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const pass = (from: Float32Array, step: number, across: number): Float32Array => {
    const to = new Float32Array(side * side);
    for (let line = 0; line < side; line++)
      for (let i = 0; i < side; i++) {
        let sum = 0;
        const begin = Math.max(0, i - radius);
        const end = Math.min(side - 1, i + radius);
        for (let j = begin; j <= end; j++)
          sum += weights[j - i + radius] * from[line * across + j * step];
        to[line * across + i * step] = sum / total;
      }
    return to;
  };
  return pass(pass(values, 1, side), side, 1);
}
