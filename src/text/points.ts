/**
 * Finds points written in prose, such as `(57, 83)`. Two readings. "strict", ours, takes what a
 * reader would take for a point: blanks inside the parentheses, decimals and signs too, so that a
 * point outside the image is seen and can be counted as wrong. "builder" is that of the published
 * builder of multi-turn chains: decimals, `1.` among them, and no sign.
 */

/** A point in a text. Its frame is not in the text: it is the one the model speaks. */
export interface TextPoint {
  readonly x: number;
  readonly y: number;
  /** As written, parentheses included. */
  readonly text: string;
  /** Where in the text it stands: UTF-16 offsets, `end` exclusive. */
  readonly start: number;
  readonly end: number;
}

export type PointMode = "strict" | "builder";

/** All points of `text` in order. */
export function scanPoints(text: string, mode: PointMode = "strict"): TextPoint[] {
  return Array.from(text.matchAll(PATTERNS[mode]), (match) => ({
    x: Number(match[1]),
    y: Number(match[2]),
    text: match[0],
    start: match.index,
    end: match.index + match[0].length,
  }));
}

/** The one point that `text` consists of, blanks aside; null when it is anything else. */
export function parsePoint(text: string): { x: number; y: number } | null {
  const match = WHOLE.exec(text);
  return match === null ? null : { x: Number(match[1]), y: Number(match[2]) };
}

/** Writes a point in its canonical form, `(x, y)`. */
export function formatPoint(at: { readonly x: number; readonly y: number }): string {
  return `(${at.x}, ${at.y})`;
}

/** A point of the first picture, or of the one that it names. */
export interface PicturePoint {
  readonly picture?: number;
  readonly x: number;
  readonly y: number;
}

/**
 * Counts places: a point is new when it lies at least `minDistancePx` from every one of its picture
 * accepted before it (greedy, in order; a distance of exactly the bound is new).
 */
export function countDistinct(points: readonly PicturePoint[], minDistancePx: number): number {
  const accepted: PicturePoint[] = [];
  for (const p of points) if (!accepted.some((q) => isNear(p, q, minDistancePx))) accepted.push(p);
  return accepted.length;
}

/** Whether two points lie on one picture and nearer than a distance. */
export function isNear(a: PicturePoint, b: PicturePoint, distancePx: number): boolean {
  return a.picture === b.picture && Math.hypot(a.x - b.x, a.y - b.y) < distancePx;
}

const NUMBER = String.raw`([+-]?\d{1,9}(?:\.\d{1,9})?)`;
const POINT = String.raw`\(\s*${NUMBER}\s*,\s*${NUMBER}\s*\)`;
const PATTERNS: Record<PointMode, RegExp> = {
  strict: new RegExp(POINT, "g"),
  builder: /\(\s*(\d+(?:\.\d*)?)\s*,\s*(\d+(?:\.\d*)?)\s*\)/g,
};
const WHOLE = new RegExp(`^\\s*${POINT}\\s*$`);
