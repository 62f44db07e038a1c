/**
 * Silhouettes of the nano world: ten shapes, each drawn by five open icon sets, as alpha masks. One
 * set is held out, so evaluation shows drawings that no model has met. assets/icons.pgm.gz holds the
 * masks (made by scripts/nano-icons.ts); turned and sized copies are cached as they are needed.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { ownPath } from "../core/paths.ts";
import { shapeNames, type Shape, type Split } from "./world.ts";

/** Columns of the sheet. Licences: assets/LICENSES.md. */
export const iconSets = ["mdi", "phosphor", "tabler", "ionicons", "bootstrap"] as const;
export type IconSet = (typeof iconSets)[number];

/** The drawings that each split may use. */
export const iconSetsOf: Readonly<Record<Split, readonly IconSet[]>> = {
  train: ["mdi", "phosphor", "tabler", "ionicons"],
  heldout: ["bootstrap"],
};

/** A silhouette in canvas pixels: a square mask, values 0–1, side even. */
export interface Mask {
  readonly sidePx: number;
  readonly alpha: Float32Array;
}

const sheetPx = 96;
const sheetWidthPx = iconSets.length * sheetPx;
let sheet: Uint8Array | undefined;
const masks = new Map<string, Mask>();

/** The mask of a drawing whose longer side is `sizePx`, turned by `degrees` about its centre. */
export function iconMask(shape: Shape, set: IconSet, sizePx: number, degrees: number): Mask {
  const key = `${shape} ${set} ${sizePx} ${degrees}`;
  const known = masks.get(key);
  if (known) return known;
  const made = drawMask(shape, set, sizePx, degrees);
  masks.set(key, made);
  return made;
}

/** A drawing shrunk to `sidePx` × `sidePx`, each pixel the mean of what it covers, values 0–1. */
export function smallIcon(shape: Shape, set: IconSet, sidePx: number): Float32Array {
  sheet ??= readSheet();
  const left = iconSets.indexOf(set) * sheetPx;
  const top = shapeNames.indexOf(shape) * sheetPx;
  const small = new Float32Array(sidePx * sidePx);
  const zoom = sheetPx / sidePx;
  const samples = 2 * Math.ceil(zoom);
  for (let y = 0; y < sidePx; y++)
    for (let x = 0; x < sidePx; x++) {
      let sum = 0;
      for (let part = 0; part < samples * samples; part++) {
        const sheetX = (x + ((part % samples) + 0.5) / samples) * zoom - 0.5;
        const sheetY = (y + (Math.floor(part / samples) + 0.5) / samples) * zoom - 0.5;
        sum += sample(sheet, left, top, sheetX, sheetY);
      }
      small[y * sidePx + x] = sum / (samples * samples);
    }
  return small;
}

function drawMask(shape: Shape, set: IconSet, sizePx: number, degrees: number): Mask {
  const sidePx = 2 * Math.ceil(sizePx * 0.62);
  const alpha = new Float32Array(sidePx * sidePx);
  const left = iconSets.indexOf(set) * sheetPx;
  const top = shapeNames.indexOf(shape) * sheetPx;
  const zoom = sheetPx / sizePx;
  sheet ??= readSheet();
  const cos = Math.cos((degrees * Math.PI) / 180) * zoom;
  const sin = Math.sin((degrees * Math.PI) / 180) * zoom;
  for (let y = 0; y < sidePx; y++)
    for (let x = 0; x < sidePx; x++) {
      const dx = x + 0.5 - sidePx / 2;
      const dy = y + 0.5 - sidePx / 2;
      const sheetX = cos * dx + sin * dy + sheetPx / 2 - 0.5;
      const sheetY = cos * dy - sin * dx + sheetPx / 2 - 0.5;
      alpha[y * sidePx + x] = sample(sheet, left, top, sheetX, sheetY);
    }
  return { sidePx, alpha };
}

/** The pixels of a binary PGM: what follows a header of known length. */
function readSheet(): Uint8Array {
  const file = gunzipSync(readFileSync(ownPath("src/nano/assets/icons.pgm.gz")));
  return file.subarray(file.length - sheetWidthPx * shapeNames.length * sheetPx);
}

/** Bilinear; 0 outside the drawing's own square. */
function sample(sheet: Uint8Array, left: number, top: number, x: number, y: number): number {
  const x0 = Math.floor(x);
  const y0 = Math.floor(y);
  const fx = x - x0;
  const fy = y - y0;
  const upper =
    level(sheet, left, top, x0, y0) * (1 - fx) + level(sheet, left, top, x0 + 1, y0) * fx;
  const lower =
    level(sheet, left, top, x0, y0 + 1) * (1 - fx) + level(sheet, left, top, x0 + 1, y0 + 1) * fx;
  return upper * (1 - fy) + lower * fy;
}

// No function inside `sample`: it runs once a pixel, and a loader may wrap what is made each time.
function level(sheet: Uint8Array, left: number, top: number, column: number, row: number): number {
  const isInside = column >= 0 && row >= 0 && column < sheetPx && row < sheetPx;
  return isInside ? sheet[(top + row) * sheetWidthPx + left + column] / 255 : 0;
}
