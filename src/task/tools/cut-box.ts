/** A box of a picture, enlarged: what the box zoom shows, and the point zoom for a call with a box. */
import { cutBox, type Crop, type CropFormat } from "../../image/crop.ts";
import type { RgbImage } from "../../image/decode.ts";
import {
  box,
  originalToResized,
  resizedToOriginal,
  type Box,
  type Size,
} from "../../image/frames.ts";
import { tokenSide } from "../../image/preprocessor-config.ts";
import { resize } from "../../image/resize.ts";
import { anyBudget, maxAspectRatio, smartResize } from "../../image/smart-resize.ts";
import { clip } from "./place-args.ts";
import type { ToolScene } from "./tool.ts";

/** How crops are made for the model of a scene. */
export function cropFormat({ budget, preprocessor }: ToolScene): CropFormat {
  return { tokenPx: tokenSide(preprocessor), order: budget.resize };
}

/**
 * Cuts the part of `area` (pixels of the picture as the model sees it, `seen` large) that lies in the
 * picture out of its own pixels, in whole pixels, and makes its longer side `outputPx` long; sides are
 * multiples of `tokenPx`.
 */
export function cutSeenBox(
  pixels: RgbImage,
  area: Box<"resized">,
  seen: Size,
  outputPx: number,
  { tokenPx, order }: CropFormat,
): Crop {
  const exact = resizedToOriginal(clip(area, seen), pixels, seen);
  const x0 = Math.floor(exact.x0);
  const y0 = Math.floor(exact.y0);
  const x1 = Math.max(x0 + 1, Math.ceil(exact.x1));
  const y1 = Math.max(y0 + 1, Math.ceil(exact.y1));
  const boxOriginal = box(
    "original",
    x0,
    y0,
    Math.min(x1, pixels.widthPx),
    Math.min(y1, pixels.heightPx),
  );
  const shown = originalToResized(boxOriginal, pixels, seen);
  const scale = outputPx / Math.max(shown.x1 - shown.x0, shown.y1 - shown.y0);
  const shortest = Math.ceil(outputPx / maxAspectRatio);
  const side = (length: number) => Math.max(shortest, Math.round(length * scale));
  const height = side(shown.y1 - shown.y0);
  const width = side(shown.x1 - shown.x0);
  const outputSize = smartResize(height, width, anyBudget(tokenPx));
  return {
    image: resize(cutBox(pixels, boxOriginal), outputSize, "bicubic", order),
    boxOriginal,
    outputSize,
  };
}
