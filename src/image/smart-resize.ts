/**
 * The size at which a Qwen vision model sees an image: both sides multiples of the token's side, the
 * area within the pixel budget, the shape kept as well as that allows. One fact, used by everything
 * that shows pixels to a model. Source: `smart_resize` of qwen-vl-utils.
 */

import { VigorlError } from "../core/errors.ts";
import type { Size } from "./frames.ts";
import { readings, type ReadingName } from "./reading.ts";

export interface SmartResizeOptions {
  /** Side of one visual token in pixels: patch size × merge size. */
  readonly factor: number;
  /** Smallest area in pixels. */
  readonly minPixels: number;
  /** Largest area in pixels. */
  readonly maxPixels: number;
  /** Whose rule is followed for sides that round to no token; default ours, one token. */
  readonly reading?: ReadingName;
}

/** From 4 visual tokens to 16,384: what a picture that nobody sets a budget for may have. */
export function anyBudget(factor: number): SmartResizeOptions {
  return { factor, minPixels: 4 * factor ** 2, maxPixels: 16_384 * factor ** 2 };
}

/** Longest allowed side over shortest side. */
export const maxAspectRatio = 200;

/**
 * The size within the longest side, shape kept, sides cut to whole pixels, as the published evaluation
 * brings pictures to it before anything else is done to them.
 */
export function withinSide({ widthPx, heightPx }: Size, maxSide: number | undefined): Size {
  const longest = Math.max(widthPx, heightPx);
  if (maxSide === undefined || longest <= maxSide) return { widthPx, heightPx };
  const side = (px: number) => Math.max(1, Math.trunc(px * (maxSide / longest)));
  return { widthPx: side(widthPx), heightPx: side(heightPx) };
}

/**
 * Computes the size the model sees for an image of `heightPx` × `widthPx`.
 * Throws VigorlError("input") when a side is not positive or the aspect ratio exceeds 200.
 */
export function smartResize(
  heightPx: number,
  widthPx: number,
  { factor, minPixels, maxPixels, reading = "own" }: SmartResizeOptions,
): Size {
  if (!(heightPx > 0 && widthPx > 0))
    throw new VigorlError("input", `image size ${widthPx}×${heightPx} is empty`, {
      hint: "use an image with at least one pixel",
    });
  const aspect = Math.max(heightPx, widthPx) / Math.min(heightPx, widthPx);
  if (aspect > maxAspectRatio)
    throw new VigorlError(
      "input",
      `image ${widthPx}×${heightPx} has an aspect ratio of ${aspect.toFixed(1)}, the model takes at most ${maxAspectRatio}`,
      { hint: "cut the image into parts" },
    );
  const shortest = readings[reading].thin === "one token" ? factor : 0;
  let height = Math.max(shortest, roundHalfEven(heightPx / factor) * factor);
  let width = Math.max(shortest, roundHalfEven(widthPx / factor) * factor);
  if (height * width > maxPixels) {
    const beta = Math.sqrt((heightPx * widthPx) / maxPixels);
    height = Math.max(factor, Math.floor(heightPx / beta / factor) * factor);
    width = Math.max(factor, Math.floor(widthPx / beta / factor) * factor);
  } else if (height * width < minPixels) {
    const beta = Math.sqrt(minPixels / (heightPx * widthPx));
    height = Math.ceil((heightPx * beta) / factor) * factor;
    width = Math.ceil((widthPx * beta) / factor) * factor;
  }
  return { widthPx: width, heightPx: height };
}

/** Rounds to the nearest integer, halves to the even one, as Python does. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
