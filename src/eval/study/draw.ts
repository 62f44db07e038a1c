/** Pictures of a study: the image at a size for people, with a blue circle around the place, or without. */
import type { RgbImage } from "../../image/decode.ts";
import { copyImage, drawRing, type Place } from "../../image/draw.ts";
import { shrinkTo } from "../../image/resize.ts";

export interface ShownPicture {
  readonly image: RgbImage;
  /** The place in it. */
  readonly at: Place;
}

/** Brings an image to at most `sidePx`, and a place in it along. */
export function shownPicture(image: RgbImage, at: Place, sidePx: number): ShownPicture {
  const shown = shrinkTo(image, sidePx);
  const x = (at.x * shown.widthPx) / image.widthPx;
  const y = (at.y * shown.heightPx) / image.heightPx;
  return { image: shown, at: { x, y } };
}

/** A copy with a circle of this diameter, seen on any ground: blue between two white lines. */
export function withCircle({ image, at }: ShownPicture, diameterPx: number): RgbImage {
  const result = copyImage(image);
  const radius = diameterPx / 2;
  const widthPx = Math.max(2, diameterPx / 25);
  drawRing(result, at, radius + 1, widthPx + 2, [255, 255, 255]);
  drawRing(result, at, radius, widthPx, [24, 90, 240]);
  return result;
}
