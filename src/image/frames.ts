/**
 * Coordinates carry their frame. Every point and box says in its type whether it counts pixels of the
 * original image, pixels of the resized image (what the model sees), pixels of a crop, or thousandths
 * (relative, 0–1000). Conversions are total functions of the sizes, and none of them rounds: a
 * coordinate is a place on the plane, origin top-left, x right, y down. Rounding to a pixel is one
 * explicit step, `roundPoint`.
 */

export type Frame = "original" | "resized" | "crop" | "relative";

/** The frame in which a model writes coordinates: pixels of the image as it sees it, or thousandths. */
export type Coordinates = Extract<Frame, "resized" | "relative">;

export interface Size {
  readonly widthPx: number;
  readonly heightPx: number;
}

export interface Point<F extends Frame> {
  readonly frame: F;
  readonly x: number;
  readonly y: number;
}

/** A half-open box: x0 ≤ x < x1, y0 ≤ y < y1. */
export interface Box<F extends Frame> {
  readonly frame: F;
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

/** Where a crop was cut and how large it was made: all that is needed to map its pixels back. */
export interface CropPlace {
  readonly boxOriginal: Box<"original">;
  readonly outputSize: Size;
}

/** The full scale of the relative frame, on both axes. */
export const relativeScale = 1000;

export function point<F extends Frame>(frame: F, x: number, y: number): Point<F> {
  return { frame, x, y };
}

export function box<F extends Frame>(
  frame: F,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
): Box<F> {
  return { frame, x0, y0, x1, y1 };
}

/** Maps a place in the original image to the resized image. */
export function originalToResized(
  place: Point<"original">,
  original: Size,
  resized: Size,
): Point<"resized">;
export function originalToResized(
  place: Box<"original">,
  original: Size,
  resized: Size,
): Box<"resized">;
export function originalToResized(
  place: Place<"original">,
  original: Size,
  resized: Size,
): Place<"resized"> {
  return scaled(place, "resized", original, resized);
}

/** Maps a place in the resized image back to the original image. */
export function resizedToOriginal(
  place: Point<"resized">,
  original: Size,
  resized: Size,
): Point<"original">;
export function resizedToOriginal(
  place: Box<"resized">,
  original: Size,
  resized: Size,
): Box<"original">;
export function resizedToOriginal(
  place: Place<"resized">,
  original: Size,
  resized: Size,
): Place<"original"> {
  return scaled(place, "original", resized, original);
}

/** Maps a place in the resized image to thousandths of its sides. */
export function resizedToRelative(place: Point<"resized">, resized: Size): Point<"relative">;
export function resizedToRelative(place: Box<"resized">, resized: Size): Box<"relative">;
export function resizedToRelative(place: Place<"resized">, resized: Size): Place<"relative"> {
  return scaled(place, "relative", resized, relativeSize);
}

/** Maps thousandths to pixels of the resized image. */
export function relativeToResized(place: Point<"relative">, resized: Size): Point<"resized">;
export function relativeToResized(place: Box<"relative">, resized: Size): Box<"resized">;
export function relativeToResized(place: Place<"relative">, resized: Size): Place<"resized"> {
  return scaled(place, "resized", relativeSize, resized);
}

/** Maps a place in the original image to thousandths of its sides. */
export function originalToRelative(place: Point<"original">, original: Size): Point<"relative">;
export function originalToRelative(place: Box<"original">, original: Size): Box<"relative">;
export function originalToRelative(place: Place<"original">, original: Size): Place<"relative"> {
  return scaled(place, "relative", original, relativeSize);
}

/** Maps thousandths to pixels of the original image. */
export function relativeToOriginal(place: Point<"relative">, original: Size): Point<"original">;
export function relativeToOriginal(place: Box<"relative">, original: Size): Box<"original">;
export function relativeToOriginal(place: Place<"relative">, original: Size): Place<"original"> {
  return scaled(place, "original", relativeSize, original);
}

/** Maps a place in a crop to the original image that it was cut from. */
export function cropToOriginal(place: Point<"crop">, crop: CropPlace): Point<"original">;
export function cropToOriginal(place: Box<"crop">, crop: CropPlace): Box<"original">;
export function cropToOriginal(place: Place<"crop">, crop: CropPlace): Place<"original"> {
  const { x0, y0 } = crop.boxOriginal;
  return shifted(
    scaled(place, "original", crop.outputSize, boxSize(crop.boxOriginal)),
    "original",
    x0,
    y0,
  );
}

/** Maps a place in the original image to a crop; places outside the crop get coordinates outside it. */
export function originalToCrop(place: Point<"original">, crop: CropPlace): Point<"crop">;
export function originalToCrop(place: Box<"original">, crop: CropPlace): Box<"crop">;
export function originalToCrop(place: Place<"original">, crop: CropPlace): Place<"crop"> {
  const { x0, y0 } = crop.boxOriginal;
  return scaled(
    shifted(place, "crop", -x0, -y0),
    "crop",
    boxSize(crop.boxOriginal),
    crop.outputSize,
  );
}

/**
 * Places a crop of a crop: `inner` is cut from the pixels of `outer` and made `outputSize` large.
 * Mapping through the result equals mapping through both crops in turn.
 */
export function nestCrop(outer: CropPlace, inner: Box<"crop">, outputSize: Size): CropPlace {
  return { boxOriginal: cropToOriginal(inner, outer), outputSize };
}

/**
 * Rounds a point to the nearest integer pixel of an image of this size. Points of the last half pixel
 * go to the last pixel; points outside keep lying outside (nothing is clamped into the image).
 */
export function roundPoint<F extends Frame>(at: Point<F>, size: Size): Point<F> {
  if (!contains(size, at)) return point(at.frame, Math.round(at.x), Math.round(at.y));
  return point(
    at.frame,
    Math.min(Math.round(at.x), size.widthPx - 1),
    Math.min(Math.round(at.y), size.heightPx - 1),
  );
}

/** Tells whether a point lies in an image of this size: 0 ≤ x < width, 0 ≤ y < height; NaN does not. */
export function contains(size: Size, at: { readonly x: number; readonly y: number }): boolean {
  return at.x >= 0 && at.y >= 0 && at.x < size.widthPx && at.y < size.heightPx;
}

/** Tells whether a point lies in a half-open box of the same frame. */
export function insideBox<F extends Frame>(at: Point<F>, area: Box<F>): boolean {
  return at.x >= area.x0 && at.x < area.x1 && at.y >= area.y0 && at.y < area.y1;
}

export function boxCentre<F extends Frame>(area: Box<F>): Point<F> {
  return point(area.frame, (area.x0 + area.x1) / 2, (area.y0 + area.y1) / 2);
}

/** The sides of a box, in the pixels of its frame. */
export function boxSize<F extends Frame>(area: Box<F>): Size {
  return { widthPx: area.x1 - area.x0, heightPx: area.y1 - area.y0 };
}

type Place<F extends Frame> = Point<F> | Box<F>;

const relativeSize: Size = { widthPx: relativeScale, heightPx: relativeScale };

function scaled<F extends Frame>(place: Place<Frame>, frame: F, from: Size, to: Size): Place<F> {
  const x = (value: number) => (value * to.widthPx) / from.widthPx;
  const y = (value: number) => (value * to.heightPx) / from.heightPx;
  if ("x0" in place) return box(frame, x(place.x0), y(place.y0), x(place.x1), y(place.y1));
  return point(frame, x(place.x), y(place.y));
}

function shifted<F extends Frame>(place: Place<Frame>, frame: F, dx: number, dy: number): Place<F> {
  if ("x0" in place) return box(frame, place.x0 + dx, place.y0 + dy, place.x1 + dx, place.y1 + dy);
  return point(frame, place.x + dx, place.y + dy);
}
