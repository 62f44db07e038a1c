/**
 * Zooming in: cut a window around a point and show it larger. Two rules. "default" cuts from the
 * original pixels at the place that the model pointed to in its resized image, so the crop shows
 * detail that the model could not see. "repo" is the published rule: cut from the resized image, clamp
 * at the edges and stretch what is left. A crop knows its box in the original, so that later points
 * can be mapped back exactly.
 */

import type { RgbImage } from "./decode.ts";
import { drawDisc } from "./draw.ts";
import {
  box,
  boxSize,
  contains,
  resizedToOriginal,
  type Box,
  type CropPlace,
  type Frame,
  type Point,
  type Size,
} from "./frames.ts";
import { resize, type ResizeOrder } from "./resize.ts";
import { anyBudget, maxAspectRatio, roundHalfEven, smartResize } from "./smart-resize.ts";

export interface ZoomSettings {
  /** Side of the square window, in pixels of the resized image (twice the published offset r). */
  readonly windowPx: number;
  /** Side of the crop shown to the model; it passes through smartResize (384 → 392). */
  readonly outputPx: number;
  /** Mark the point with a red dot, radius 7 px, outlined in white 2 px wide. */
  readonly drawDot: boolean;
  readonly mode: "default" | "repo";
}

/** How pictures of a model are made: the side of its visual token, and the order of resizing. */
export interface CropFormat {
  readonly tokenPx: number;
  readonly order?: ResizeOrder | undefined;
}

export interface Crop extends CropPlace {
  readonly image: RgbImage;
}

/** A crop, or why there is none. A point outside the image is the model's mistake, not an error. */
export type ZoomResult =
  { readonly ok: true; readonly crop: Crop } | { readonly ok: false; readonly reason: "outside" };

/**
 * Cuts the window around `at` and resizes it for the model (Pillow's bicubic).
 *
 * mode "default": refuses points outside the resized image. The window is scaled to the original and
 * cut there, in whole pixels. differs: a window that would cross an edge is moved inward, so the crop
 * keeps its shape and magnification (published: clamped, then stretched); an image narrower than the
 * window gives a crop as much narrower; the dot is drawn on the finished crop, so that it hides
 * 14 pixels of it at any magnification (published: drawn before enlarging).
 *
 * The crop's sides are multiples of `tokenPx`.
 *
 * mode "repo": `cropBox` on the resized image, any point up to where Pillow has no crop any more, dot
 * before enlarging, stretched to a square.
 */
export function zoom(
  original: RgbImage,
  at: Point<"resized">,
  resizedSize: Size,
  settings: ZoomSettings,
  format: CropFormat,
): ZoomResult {
  if (settings.mode === "repo") {
    const crop = zoomAsPublished(original, at, resizedSize, settings, format);
    return crop === null ? { ok: false, reason: "outside" } : { ok: true, crop };
  }
  if (!contains(resizedSize, at)) return { ok: false, reason: "outside" };

  const place = resizedToOriginal(at, original, resizedSize);
  const windowWidth = (settings.windowPx * original.widthPx) / resizedSize.widthPx;
  const windowHeight = (settings.windowPx * original.heightPx) / resizedSize.heightPx;
  const [x0, x1] = windowAround(place.x, windowWidth, original.widthPx);
  const [y0, y1] = windowAround(place.y, windowHeight, original.heightPx);
  const boxOriginal = box("original", x0, y0, x1, y1);

  const outputSize = shapedOutput(
    settings.outputPx * Math.min(1, original.widthPx / windowWidth),
    settings.outputPx * Math.min(1, original.heightPx / windowHeight),
    format.tokenPx,
  );
  const image = resize(cutBox(original, boxOriginal), outputSize, "bicubic", format.order);
  if (settings.drawDot)
    drawDot(image, {
      x: ((place.x - x0) * outputSize.widthPx) / (x1 - x0),
      y: ((place.y - y0) * outputSize.heightPx) / (y1 - y0),
    });
  return { ok: true, crop: { image, boxOriginal, outputSize } };
}

/**
 * The published crop box around a point: clamped to the image on the side it leaves, at least one
 * pixel wide and high. Points outside the image give one-pixel boxes, possibly outside themselves. A
 * coordinate that is no number gives all of its axis: Python's min and max keep their first argument.
 */
export function cropBox<F extends Frame>(size: Size, at: Point<F>, offsetPx: number): Box<F> {
  const x0 = at.x - offsetPx > 0 ? at.x - offsetPx : 0;
  const y0 = at.y - offsetPx > 0 ? at.y - offsetPx : 0;
  const x1 = at.x + offsetPx < size.widthPx ? at.x + offsetPx : size.widthPx;
  const y1 = at.y + offsetPx < size.heightPx ? at.y + offsetPx : size.heightPx;
  return box(at.frame, x0, y0, x1 <= x0 ? x0 + 1 : x1, y1 <= y0 ? y0 + 1 : y1);
}

/** Cuts a box of whole pixels out of an image; what lies outside the image is black. */
export function cutBox(image: RgbImage, area: Box<Frame>): RgbImage {
  const { widthPx, heightPx } = boxSize(area);
  const data = new Uint8Array(widthPx * heightPx * 3);
  const fromX = Math.max(0, area.x0);
  const toX = Math.min(image.widthPx, area.x1);
  const fromY = Math.max(0, area.y0);
  const toY = Math.min(image.heightPx, area.y1);
  if (fromX < toX)
    for (let y = fromY; y < toY; y++) {
      const row = y * image.widthPx;
      const pixels = image.data.subarray((row + fromX) * 3, (row + toX) * 3);
      data.set(pixels, ((y - area.y0) * widthPx + fromX - area.x0) * 3);
    }
  return { widthPx, heightPx, data };
}

/** A black image: the control that takes the crop's pixels away and leaves all else. */
export function fillBlack(size: Size): RgbImage {
  const { widthPx, heightPx } = size;
  return { widthPx, heightPx, data: new Uint8Array(widthPx * heightPx * 3) };
}

function zoomAsPublished(
  original: RgbImage,
  at: Point<"resized">,
  resizedSize: Size,
  settings: ZoomSettings,
  { tokenPx, order }: CropFormat,
): Crop | null {
  const exact = cropBox(resizedSize, at, settings.windowPx / 2);
  if (![exact.x0, exact.y0, exact.x1, exact.y1].every(isPillowInt)) return null;
  const resized = resize(original, resizedSize, "bicubic", order);
  const x0 = roundHalfEven(exact.x0);
  const y0 = roundHalfEven(exact.y0);
  const area = box(
    "resized",
    x0,
    y0,
    Math.max(x0 + 1, roundHalfEven(exact.x1)),
    Math.max(y0 + 1, roundHalfEven(exact.y1)),
  );
  const cut = cutBox(resized, area);
  const dot = { x: at.x - area.x0, y: at.y - area.y0 };
  if (settings.drawDot && isPillowInt(dot.x) && isPillowInt(dot.y)) drawDot(cut, dot);
  const outputSize = smartResize(settings.outputPx, settings.outputPx, anyBudget(tokenPx));
  const boxOriginal = resizedToOriginal(area, original, resizedSize);
  return { image: resize(cut, outputSize, "bicubic", order), boxOriginal, outputSize };
}

/** Whether a side of a box is one that Pillow can crop at: it raises beyond 32 bits. */
function isPillowInt(value: number): boolean {
  return Math.abs(value) < 2 ** 31 - 1;
}

/** Whole pixels [begin, end) of a window of `length` around `centre`, moved to lie in [0, limit). */
function windowAround(centre: number, length: number, limit: number): [number, number] {
  const whole = Math.min(limit, Math.max(1, Math.round(length)));
  const begin = Math.round(centre - whole / 2);
  const inside = Math.min(Math.max(0, begin), limit - whole);
  return [inside, inside + whole];
}

function shapedOutput(widthPx: number, heightPx: number, tokenPx: number): Size {
  const shortest = Math.max(widthPx, heightPx) / maxAspectRatio;
  const side = (value: number) => Math.max(1, Math.ceil(shortest), Math.round(value));
  return smartResize(side(heightPx), side(widthPx), anyBudget(tokenPx));
}

function drawDot(image: RgbImage, centre: { x: number; y: number }): void {
  drawDisc(image, centre, 7, [255, 0, 0], { colour: [255, 255, 255], widthPx: 2 });
}
