/**
 * Images of the marks that plates carry, 28 × 28 with ink from 0 to 1: the handwritten digits of the
 * `mnist` package, and the silhouettes of shapes, made as small. The package stores its 10,000 digits
 * by class, in no other order; the last fifth of each class is held out, and one drawing of each shape.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { ownRequire } from "../core/paths.ts";
import { iconSets, iconSetsOf, smallIcon } from "./icons.ts";
import type { Shape, Split } from "./world.ts";

/** What a plate can carry: a digit 0–9, or a sign that shows a shape. */
export type Mark = number | Shape;

export const inkSidePx = 28;
/** Height of the mark within its image. */
export const inkHeightPx = 20;

const inkArea = inkSidePx * inkSidePx;
const fileSchema = z.object({ data: z.array(z.number()) });
const loaded = new Map<Mark, Float32Array>();

/** All images of a mark, one after another, [count · 28 · 28]; of a sign one for each icon set. */
export function inksOf(mark: Mark): Float32Array {
  const known = loaded.get(mark);
  if (known) return known;
  const made = typeof mark === "number" ? digitInks(mark) : signInks(mark);
  loaded.set(mark, made);
  return made;
}

/** Images [first, end) of a mark that a split may use. */
export function inkRange(mark: Mark, split: Split): [number, number] {
  if (typeof mark === "string") {
    const own = iconSetsOf[split].map((set) => iconSets.indexOf(set));
    return [Math.min(...own), Math.max(...own) + 1];
  }
  const total = inksOf(mark).length / inkArea;
  const cut = Math.floor(total * 0.8);
  return split === "train" ? [0, cut] : [cut, total];
}

function digitInks(digit: number): Float32Array {
  const path = ownRequire().resolve(`mnist/src/digits/${digit}.json`);
  return Float32Array.from(fileSchema.parse(JSON.parse(readFileSync(path, "utf8"))).data);
}

function signInks(shape: Shape): Float32Array {
  const inks = new Float32Array(iconSets.length * inkArea);
  iconSets.forEach((set, i) => {
    const icon = smallIcon(shape, set, inkHeightPx);
    const inset = (inkSidePx - inkHeightPx) / 2;
    for (let y = 0; y < inkHeightPx; y++)
      inks.set(
        icon.subarray(y * inkHeightPx, (y + 1) * inkHeightPx),
        i * inkArea + (y + inset) * inkSidePx + inset,
      );
  });
  return inks;
}
