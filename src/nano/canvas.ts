/**
 * Draws scenes. `drawCanvas` is the truth: 448 × 448 pixels from which views and crops are resized
 * as for any other image. `drawWindow` gives the same pixels of a part of it. `drawView` draws the
 * model's view at its own scale, close to the resized canvas and ten times faster: base training
 * needs hundreds of thousands.
 */
import type { RgbImage } from "../image/decode.ts";
import { plateLevels, platePx } from "./plates.ts";
import { iconMask } from "./icons.ts";
import { backgroundGrid, type Background, type Scene, type SceneObject } from "./scene.ts";
import { canvasPx, viewPx, viewScale } from "./world.ts";

/** The whole canvas. */
export function drawCanvas(scene: Scene): RgbImage {
  return drawWindow(scene, 0, 0, canvasPx, canvasPx);
}

/** The pixels [x0, x0 + widthPx) × [y0, y0 + heightPx) of the canvas. */
export function drawWindow(
  scene: Scene,
  x0: number,
  y0: number,
  widthPx: number,
  heightPx: number,
): RgbImage {
  const pixels = new Float32Array(widthPx * heightPx * 3);
  const target = { pixels, x0, y0, widthPx, heightPx };
  fillBackground(target, scene.background, 1);
  for (const object of scene.objects) {
    const mask = iconMask(object.shape, object.set, object.sizePx, object.degrees);
    const half = mask.sidePx / 2;
    blend(target, mask.alpha, mask.sidePx, object.x - half, object.y - half, object.rgb);
    pastePlate(target, object);
  }
  return { widthPx, heightPx, data: toBytes(pixels) };
}

/** The model's view of the scene, 112 × 112, drawn straight at that scale. */
export function drawView(scene: Scene): RgbImage {
  const pixels = new Float32Array(viewPx * viewPx * 3);
  const target = { pixels, x0: 0, y0: 0, widthPx: viewPx, heightPx: viewPx };
  fillBackground(target, scene.background, viewScale);
  for (const object of scene.objects) {
    const icon = shrunkIcon(object);
    blend(target, icon.values, icon.side, icon.x0, icon.y0, object.rgb);
    const plate = shrunkPlate(object);
    for (let row = 0; row < plate.side; row++)
      for (let column = 0; column < plate.side; column++) {
        const at = pixelAt(target, plate.x0 + column, plate.y0 + row);
        if (at < 0) continue;
        const i = row * plate.side + column;
        for (let c = 0; c < 3; c++)
          pixels[at + c] += plate.values[i] - plate.cover[i] * pixels[at + c];
      }
  }
  return { widthPx: viewPx, heightPx: viewPx, data: toBytes(pixels) };
}

/** A part of the canvas being drawn; pixels are real grey levels. */
interface Target {
  readonly pixels: Float32Array;
  readonly x0: number;
  readonly y0: number;
  readonly widthPx: number;
  readonly heightPx: number;
}

function pixelAt(target: Target, x: number, y: number): number {
  const column = x - target.x0;
  const row = y - target.y0;
  if (column < 0 || row < 0 || column >= target.widthPx || row >= target.heightPx) return -1;
  return (row * target.widthPx + column) * 3;
}

/** Real grey levels to bytes. */
function toBytes(pixels: Float32Array): Uint8Array {
  return new Uint8Array(new Uint8ClampedArray(pixels).buffer);
}

/** `step`: canvas pixels per target pixel; sampled at pixel centres. */
function fillBackground(target: Target, background: Background, step: number): void {
  const { pixels, x0, y0, widthPx, heightPx } = target;
  const { levels } = background;
  const side = (backgroundGrid + 1) * 3;
  const toGrid = backgroundGrid / canvasPx;
  const line = new Float32Array(side);
  const shares = Float64Array.from({ length: widthPx }, (_, column) => {
    return (x0 + column + 0.5) * step * toGrid;
  });
  // Columns of one cell of the grid lie between the same two levels.
  const cells = Int32Array.from(shares, Math.floor);
  for (let column = 0; column < widthPx; column++) shares[column] -= cells[column];
  let at = 0;
  for (let row = 0; row < heightPx; row++) {
    const v = (y0 + row + 0.5) * step * toGrid;
    const gridY = Math.floor(v);
    const fy = v - gridY;
    const upper = gridY * side;
    for (let i = 0; i < side; i++)
      line[i] = levels[upper + i] * (1 - fy) + levels[upper + side + i] * fy;
    for (let column = 0; column < widthPx;) {
      const cell = cells[column];
      const left = 3 * cell;
      const red = line[left];
      const green = line[left + 1];
      const blue = line[left + 2];
      const reds = line[left + 3] - red;
      const greens = line[left + 4] - green;
      const blues = line[left + 5] - blue;
      for (; column < widthPx && cells[column] === cell; column++) {
        const share = shares[column];
        pixels[at] = red + reds * share;
        pixels[at + 1] = green + greens * share;
        pixels[at + 2] = blue + blues * share;
        at += 3;
      }
    }
  }
}

/** Blends a square of one colour over the target, its top left corner at (left, top). */
function blend(
  target: Target,
  alpha: Float32Array,
  side: number,
  left: number,
  top: number,
  [red, green, blue]: readonly [number, number, number],
): void {
  const { pixels, x0, y0, widthPx, heightPx } = target;
  const fromRow = Math.max(0, y0 - top);
  const toRow = Math.min(side, y0 + heightPx - top);
  const fromColumn = Math.max(0, x0 - left);
  const toColumn = Math.min(side, x0 + widthPx - left);
  for (let row = fromRow; row < toRow; row++) {
    let at = ((row + top - y0) * widthPx + fromColumn + left - x0) * 3;
    for (let i = row * side + fromColumn; i < row * side + toColumn; i++, at += 3) {
      const a = alpha[i];
      if (a === 0) continue;
      pixels[at] += a * (red - pixels[at]);
      pixels[at + 1] += a * (green - pixels[at + 1]);
      pixels[at + 2] += a * (blue - pixels[at + 2]);
    }
  }
}

function pastePlate(target: Target, object: SceneObject): void {
  const left = object.x - (platePx - 1) / 2;
  const top = object.y - (platePx - 1) / 2;
  const { x0, y0, widthPx, heightPx } = target;
  if (left >= x0 + widthPx || top >= y0 + heightPx) return;
  if (left + platePx <= x0 || top + platePx <= y0) return;
  const levels = plateLevels(object.plate);
  for (let row = 0; row < platePx; row++)
    for (let column = 0; column < platePx; column++) {
      const at = pixelAt(target, left + column, top + row);
      if (at >= 0) target.pixels.fill(levels[row * platePx + column], at, at + 3);
    }
}

/** A square patch of the view. */
interface Patch {
  readonly x0: number;
  readonly y0: number;
  readonly side: number;
  readonly values: Float32Array;
}

const iconPatches = new Map<string, { side: number; values: Float32Array }>();
const plateCovers = new Map<number, Float32Array>();

function shrunkIcon(object: SceneObject): Patch {
  const { shape, set, sizePx, degrees } = object;
  const mask = iconMask(shape, set, sizePx, degrees);
  const [x0, phaseX] = viewStart(object.x - mask.sidePx / 2);
  const [y0, phaseY] = viewStart(object.y - mask.sidePx / 2);
  const key = `${shape} ${set} ${sizePx} ${degrees} ${phaseX} ${phaseY}`;
  let known = iconPatches.get(key);
  if (!known) {
    known = {
      side: patchSide(mask.sidePx),
      values: shrink(mask.alpha, mask.sidePx, phaseX, phaseY),
    };
    iconPatches.set(key, known);
  }
  return { x0, y0, ...known };
}

function shrunkPlate(object: SceneObject): Patch & { readonly cover: Float32Array } {
  const [x0, phaseX] = viewStart(object.x - (platePx - 1) / 2);
  const [y0, phaseY] = viewStart(object.y - (platePx - 1) / 2);
  const key = phaseY * viewScale + phaseX;
  let cover = plateCovers.get(key);
  if (!cover) {
    cover = shrink(new Float32Array(platePx * platePx).fill(1), platePx, phaseX, phaseY);
    plateCovers.set(key, cover);
  }
  const values = shrink(plateLevels(object.plate), platePx, phaseX, phaseY);
  return { x0, y0, side: patchSide(platePx), values, cover };
}

/** View pixels before the first one that a square begins in, for the reach of the filter. */
const reach = 2;

/** First view pixel of the patch of a square that begins at canvas pixel `start`, and its phase. */
function viewStart(start: number): [number, number] {
  const pixel = Math.floor(start / viewScale);
  return [pixel - reach, start - pixel * viewScale];
}

function patchSide(sidePx: number): number {
  return Math.ceil((sidePx + viewScale - 1) / viewScale) + 2 * reach;
}

/** Shrinks a square by `viewScale` as Pillow's bicubic does, zero outside it; real values, no rounding. */
function shrink(
  values: Float32Array,
  sidePx: number,
  phaseX: number,
  phaseY: number,
): Float32Array {
  const side = patchSide(sidePx);
  const across = weights(sidePx, side, phaseX);
  const down = weights(sidePx, side, phaseY);
  const rows = new Float32Array(sidePx * side);
  for (let y = 0; y < sidePx; y++)
    for (let out = 0; out < side; out++) {
      let sum = 0;
      for (let x = 0; x < sidePx; x++) sum += across[out * sidePx + x] * values[y * sidePx + x];
      rows[y * side + out] = sum;
    }
  const result = new Float32Array(side * side);
  for (let out = 0; out < side; out++)
    for (let y = 0; y < sidePx; y++) {
      const weight = down[out * sidePx + y];
      if (weight === 0) continue;
      for (let x = 0; x < side; x++) result[out * side + x] += weight * rows[y * side + x];
    }
  return result;
}

const weightTables = new Map<string, Float32Array>();

/** [side, sidePx]: the share of every canvas pixel in every view pixel. */
function weights(sidePx: number, side: number, phase: number): Float32Array {
  const key = `${sidePx} ${phase}`;
  const known = weightTables.get(key);
  if (known) return known;
  const table = new Float32Array(side * sidePx);
  for (let out = 0; out < side; out++)
    for (let i = 0; i < sidePx; i++) {
      const distance = (i + phase + 0.5) / viewScale - (out - reach + 0.5);
      table[out * sidePx + i] = cubic(Math.abs(distance)) / viewScale;
    }
  weightTables.set(key, table);
  return table;
}

/** The bicubic kernel of Pillow, a = −0.5. */
function cubic(x: number): number {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}
