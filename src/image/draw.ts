/**
 * Drawing into RGB pixels: the dot that marks a zoomed point, and the marks that make a trace visible
 * (numbered points, the path between them, boxes). Whole pixels, no antialiasing; what leaves the image
 * is cut off. Left out: text other than digits (pages draw theirs as SVG over the picture).
 *
 * Coordinates are pixels of the image drawn into; a fractional point is the pixel that covers it.
 */

import type { RgbImage } from "./decode.ts";

/** Red, green, blue, 0–255. */
export type Colour = readonly [number, number, number];

/** A place in the image drawn into; points of any frame fit where their frame is that image's. */
export interface Place {
  readonly x: number;
  readonly y: number;
}

/** Half-open, in the pixels of the image drawn into. */
export interface Area {
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

/** What tools draw their uses on: an image, or the picture of a page. */
export interface Canvas {
  box(area: Area): void;
  point(at: Place): void;
  line(from: Place, to: Place): void;
}

/** Draws into an image, in place, in the colours of `annotate`. */
export function imageCanvas(image: RgbImage): Canvas {
  const scale = markScale(image);
  return {
    box: (area) => drawRectangle(image, area, boxColour, 2 * scale),
    point: (at) => drawDisc(image, at, 2 * scale, boxColour),
    line: (from, to) => drawLine(image, from, to, boxColour, 2 * scale),
  };
}

export interface Annotation {
  /** Numbered from 1, in order. */
  readonly points?: readonly Place[];
  readonly boxes?: readonly Area[];
  /** Joined by lines, in order. */
  readonly path?: readonly Place[];
}

/** Returns a copy of the image with boxes, path and numbered points drawn, sized to the image. */
export function annotate(image: RgbImage, annotation: Annotation): RgbImage {
  const result = copyImage(image);
  const scale = markScale(image);
  for (const area of annotation.boxes ?? []) drawRectangle(result, area, boxColour, 2 * scale);
  const path = annotation.path ?? [];
  for (let i = 1; i < path.length; i++)
    drawLine(result, path[i - 1], path[i], pathColour, 2 * scale);
  for (const [i, at] of (annotation.points ?? []).entries())
    drawMarker(result, at, i + 1, markerColour, scale);
  return result;
}

/** Pixels of the image to one of the marks, which are made for 400. */
function markScale(image: RgbImage): number {
  return Math.max(1, Math.round(Math.min(image.widthPx, image.heightPx) / 400));
}

export function copyImage(image: RgbImage): RgbImage {
  return { widthPx: image.widthPx, heightPx: image.heightPx, data: image.data.slice() };
}

/**
 * Fills a circle of 2·radius + 1 pixels across, with an outline inside its rim.
 * Equal to Pillow's `ellipse`. `radius` is a whole number.
 */
export function drawDisc(
  image: RgbImage,
  centre: Place,
  radius: number,
  fill: Colour,
  outline?: { readonly colour: Colour; readonly widthPx: number },
): void {
  const centreX = Math.floor(centre.x);
  const centreY = Math.floor(centre.y);
  const edge = quarterCircle(radius);
  const innerRadius = outline === undefined ? -1 : radius - outline.widthPx + 1;
  const inner = quarterCircle(Math.max(0, innerRadius));
  for (let dy = -radius; dy <= radius; dy++) {
    const row = Math.abs(dy);
    const rimFrom = row <= innerRadius ? inner[row].nearest : 0;
    for (let dx = -edge[row].farthest; dx <= edge[row].farthest; dx++) {
      const isRim = outline !== undefined && Math.abs(dx) >= rimFrom;
      setPixel(image, centreX + dx, centreY + dy, isRim ? outline.colour : fill);
    }
  }
}

/** Draws a circle: pixels whose middle lies at most `widthPx` inside of the radius. */
export function drawRing(
  image: RgbImage,
  centre: Place,
  radius: number,
  widthPx: number,
  colour: Colour,
): void {
  const inner = Math.max(0, radius - widthPx);
  const first = (middle: number) => Math.max(0, Math.floor(middle - radius));
  const lastX = Math.min(image.widthPx - 1, Math.ceil(centre.x + radius));
  const lastY = Math.min(image.heightPx - 1, Math.ceil(centre.y + radius));
  for (let y = first(centre.y); y <= lastY; y++)
    for (let x = first(centre.x); x <= lastX; x++) {
      const away = Math.hypot(x + 0.5 - centre.x, y + 0.5 - centre.y);
      if (away <= radius && away >= inner) setPixel(image, x, y, colour);
    }
}

/** Draws a line with round ends. */
export function drawLine(
  image: RgbImage,
  from: Place,
  to: Place,
  colour: Colour,
  widthPx = 1,
): void {
  const [x0, y0, x1, y1] = [from.x, from.y, to.x, to.y].map(Math.floor);
  const reach = Math.max(0.5, widthPx / 2);
  const lengthSquared = (x1 - x0) ** 2 + (y1 - y0) ** 2;
  const beginX = Math.max(0, Math.floor(Math.min(x0, x1) - reach));
  const endX = Math.min(image.widthPx - 1, Math.ceil(Math.max(x0, x1) + reach));
  const beginY = Math.max(0, Math.floor(Math.min(y0, y1) - reach));
  const endY = Math.min(image.heightPx - 1, Math.ceil(Math.max(y0, y1) + reach));
  for (let y = beginY; y <= endY; y++)
    for (let x = beginX; x <= endX; x++) {
      const along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / (lengthSquared || 1);
      const share = Math.min(1, Math.max(0, along));
      const awayX = x - x0 - share * (x1 - x0);
      const awayY = y - y0 - share * (y1 - y0);
      if (awayX * awayX + awayY * awayY <= reach * reach) setPixel(image, x, y, colour);
    }
}

/** Draws the outline of a half-open box, growing inward. */
export function drawRectangle(image: RgbImage, area: Area, colour: Colour, widthPx = 1): void {
  const [x0, y0, x1, y1] = [area.x0, area.y0, area.x1, area.y1].map(Math.round);
  const acrossPx = Math.min(widthPx, x1 - x0);
  const downPx = Math.min(widthPx, y1 - y0);
  fillRectangle(image, x0, y0, x1, y0 + downPx, colour);
  fillRectangle(image, x0, y1 - downPx, x1, y1, colour);
  fillRectangle(image, x0, y0, x0 + acrossPx, y1, colour);
  fillRectangle(image, x1 - acrossPx, y0, x1, y1, colour);
}

/** Draws a disc with a number in it, centred at the place; `scale` is the side of a font pixel. */
export function drawMarker(
  image: RgbImage,
  centre: Place,
  number: number,
  colour: Colour = markerColour,
  scale = 1,
): void {
  const digits = String(Math.max(0, Math.trunc(number)));
  const textWidth = (digits.length * (glyphWidth + 1) - 1) * scale;
  const textHeight = glyphHeight * scale;
  const radius = Math.ceil(Math.hypot(textWidth, textHeight) / 2) + 2 * scale;
  drawDisc(image, centre, radius, colour, { colour: white, widthPx: scale });
  const left = Math.floor(centre.x) - Math.floor(textWidth / 2);
  const top = Math.floor(centre.y) - Math.floor(textHeight / 2);
  for (const [i, digit] of Array.from(digits).entries())
    drawGlyph(image, glyphs[Number(digit)], left + i * (glyphWidth + 1) * scale, top, scale);
}

/** Copies `part` into the image with its top-left corner at (x, y). */
export function paste(image: RgbImage, part: RgbImage, x: number, y: number): void {
  const left = Math.floor(x);
  const top = Math.floor(y);
  const begin = Math.max(0, -left);
  const end = Math.min(part.widthPx, image.widthPx - left);
  if (end <= begin) return;
  for (let row = Math.max(0, -top); row < Math.min(part.heightPx, image.heightPx - top); row++) {
    const from = row * part.widthPx;
    const pixels = part.data.subarray((from + begin) * 3, (from + end) * 3);
    image.data.set(pixels, ((top + row) * image.widthPx + left + begin) * 3);
  }
}

/** Fills whole pixels x0 ≤ x < x1, y0 ≤ y < y1. */
export function fillRectangle(
  image: RgbImage,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
  colour: Colour,
): void {
  for (let y = Math.max(0, y0); y < Math.min(image.heightPx, y1); y++)
    for (let x = Math.max(0, x0); x < Math.min(image.widthPx, x1); x++)
      setPixel(image, x, y, colour);
}

const white: Colour = [255, 255, 255];
const markerColour: Colour = [214, 40, 57];
const boxColour: Colour = [46, 196, 130];
const pathColour: Colour = [255, 176, 32];

const glyphWidth = 3;
const glyphHeight = 5;

/** The digits 0–9, three bits a row from top to bottom. */
const glyphs: readonly (readonly number[])[] = [
  [0b111, 0b101, 0b101, 0b101, 0b111],
  [0b010, 0b110, 0b010, 0b010, 0b111],
  [0b111, 0b001, 0b111, 0b100, 0b111],
  [0b111, 0b001, 0b011, 0b001, 0b111],
  [0b101, 0b101, 0b111, 0b001, 0b001],
  [0b111, 0b100, 0b111, 0b001, 0b111],
  [0b111, 0b100, 0b111, 0b101, 0b111],
  [0b111, 0b001, 0b010, 0b010, 0b010],
  [0b111, 0b101, 0b111, 0b101, 0b111],
  [0b111, 0b101, 0b111, 0b001, 0b111],
];

/**
 * Walks a quarter of a circle, each step to the neighbour that lies closest to the true circle, and
 * gives for every row 0..radius the nearest and the farthest x on the walk.
 */
function quarterCircle(radius: number): { nearest: number; farthest: number }[] {
  const rows = [{ nearest: radius, farthest: radius }];
  const miss = (x: number, y: number) => Math.abs(x * x + y * y - radius * radius);
  let x = radius;
  let y = 0;
  while (x > 0 || y < radius) {
    let next = { x, y: y + 1 };
    if (x > 0) {
      if (miss(x - 1, y + 1) < miss(next.x, next.y)) next = { x: x - 1, y: y + 1 };
      if (miss(x - 1, y) < miss(next.x, next.y)) next = { x: x - 1, y };
    }
    ({ x, y } = next);
    if (y === rows.length) rows.push({ nearest: x, farthest: x });
    else rows[y].nearest = x;
  }
  return rows;
}

function drawGlyph(
  image: RgbImage,
  rows: readonly number[],
  left: number,
  top: number,
  scale: number,
): void {
  for (const [row, bits] of rows.entries())
    for (let column = 0; column < glyphWidth; column++)
      if ((bits >> (glyphWidth - 1 - column)) & 1) {
        const x = left + column * scale;
        const y = top + row * scale;
        fillRectangle(image, x, y, x + scale, y + scale, white);
      }
}

function setPixel(image: RgbImage, x: number, y: number, colour: Colour): void {
  if (x < 0 || y < 0 || x >= image.widthPx || y >= image.heightPx) return;
  const at = (y * image.widthPx + x) * 3;
  image.data[at] = colour[0];
  image.data[at + 1] = colour[1];
  image.data[at + 2] = colour[2];
}
