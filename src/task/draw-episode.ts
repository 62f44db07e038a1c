/** An episode as one picture: its first image, what tools looked at, and where its thoughts went. */
import type { RgbImage } from "../image/decode.ts";
import { annotate, drawDisc } from "../image/draw.ts";
import { resizedToOriginal } from "../image/frames.ts";
import { withUses } from "./tools/draw-use.ts";
import type { Trajectory } from "./trajectory.ts";

/**
 * A copy of the first image, in original pixels, with everything drawn in. The numbers stand beside
 * the places, so that what was looked at stays visible.
 */
export function drawEpisode(image: RgbImage, played: Trajectory): RgbImage {
  const { points, view } = played;
  if (view === null) return image;
  const unit = Math.max(1, Math.round(Math.min(image.widthPx, image.heightPx) / 400));
  const places = points
    .filter((place) => place.inImage)
    .map((place) => resizedToOriginal(place, view.original, view.resized));
  const result = annotate(withUses(image, played), {
    points: places.map(({ x, y }) => ({ x: x + 20 * unit, y: y - 20 * unit })),
    path: places,
  });
  for (const place of places) drawDisc(result, place, unit, [255, 61, 127]);
  return result;
}
