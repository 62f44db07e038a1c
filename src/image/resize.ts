/**
 * Resampling of the pixels that a model sees, equal bit for bit to Pillow's `Image.resize` on RGB:
 * separable filters whose support grows when shrinking, 8-bit fixed-point coefficients, bytes
 * between the two passes. Training, search and serving elsewhere run on Pillow, so any other kernel
 * would show the model other pixels. Left out: other modes than RGB, `box` and `reducing_gap`.
 */

import type { RgbImage } from "./decode.ts";
import type { Size } from "./frames.ts";

export type Filter = "bicubic" | "lanczos" | "bilinear";

/**
 * Which axis goes first. Bytes clip between the passes, so it shows: on pure noise, 640×480 → 644×476,
 * by up to 22 levels. Pillow 13 starts with the columns when the height loses more than twice as many
 * pixels as the width; Pillow up to 12, and torchvision, always with the rows.
 */
export const resizeOrders = ["pillow-13", "rows-first"] as const;
export type ResizeOrder = (typeof resizeOrders)[number];

/**
 * Resizes an RGB image to `size` and returns a new image; an axis whose size does not change is
 * passed over, and an image of the same size is copied. Equal to Pillow bit for bit.
 */
export function resize(
  image: RgbImage,
  size: Size,
  filter: Filter,
  order: ResizeOrder = "pillow-13",
): RgbImage {
  const { widthPx, heightPx } = size;
  const rows = (data: Uint8Array, numRows: number) =>
    widthPx === image.widthPx
      ? data
      : resampleRows(data, numRows, kernel(image.widthPx, widthPx, filter));
  const columns = (data: Uint8Array, width: number) =>
    heightPx === image.heightPx
      ? data
      : resampleColumns(data, width, kernel(image.heightPx, heightPx, filter));
  const data =
    order === "pillow-13" && columnsFirst(image, size)
      ? rows(columns(image.data, image.widthPx), heightPx)
      : columns(rows(image.data, image.heightPx), widthPx);
  return { widthPx, heightPx, data: data === image.data ? data.slice() : data };
}

/** The image with its longest side brought down to `sidePx`; smaller ones as they are. For people. */
export function shrinkTo(image: RgbImage, sidePx: number): RgbImage {
  const scale = sidePx / Math.max(image.widthPx, image.heightPx);
  if (scale >= 1) return image;
  const side = (length: number) => Math.max(1, Math.round(length * scale));
  return resize(image, { widthPx: side(image.widthPx), heightPx: side(image.heightPx) }, "bicubic");
}

/** Pillow 13's rule. */
function columnsFirst(from: Size, to: Size): boolean {
  const fewerRows = from.heightPx - to.heightPx;
  return fewerRows > 0 && fewerRows > 2 * (from.widthPx - to.widthPx);
}

/** Bits after the binary point of a coefficient; leaves room for the sum of 8-bit pixels in 32 bits. */
const precisionBits = 32 - 8 - 2;
const half = 1 << (precisionBits - 1);

const filters: Record<Filter, { support: number; weight: (x: number) => number }> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: (x) => cubic(Math.abs(x)) },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** For every output pixel: the first input pixel, how many there are, and their coefficients. */
interface Kernel {
  inSize: number;
  outSize: number;
  /** Coefficients reserved for one output pixel. */
  stride: number;
  first: Int32Array;
  count: Int32Array;
  coefficients: Int32Array;
}

/** Coefficients of the sizes seen lately; a run resizes between few sizes, a crop service between many. */
const kernels = new Map<string, Kernel>();
const maxKernels = 256;

function kernel(inSize: number, outSize: number, filter: Filter): Kernel {
  const key = `${inSize} ${outSize} ${filter}`;
  const known = kernels.get(key);
  if (known !== undefined) return known;
  const made = computeKernel(inSize, outSize, filter);
  const oldest = kernels.keys().next();
  if (kernels.size >= maxKernels && !oldest.done) kernels.delete(oldest.value);
  kernels.set(key, made);
  return made;
}

function computeKernel(inSize: number, outSize: number, filter: Filter): Kernel {
  const { support, weight } = filters[filter];
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1);
  const reach = support * filterScale;
  const stride = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(outSize);
  const count = new Int32Array(outSize);
  const coefficients = new Int32Array(outSize * stride);
  const weights = new Float64Array(stride);
  for (let out = 0; out < outSize; out++) {
    const centre = (out + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(inSize, Math.trunc(centre + reach + 0.5));
    let total = 0;
    for (let i = begin; i < end; i++) {
      const value = weight((i - centre + 0.5) * (1 / filterScale));
      weights[i - begin] = value;
      total += value;
    }
    for (let k = 0; k < end - begin; k++) {
      const value = (total === 0 ? weights[k] : weights[k] / total) * 2 ** precisionBits;
      coefficients[out * stride + k] = Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
    }
    first[out] = begin;
    count[out] = end - begin;
  }
  return { inSize, outSize, stride, first, count, coefficients };
}

/** [rows, inSize, 3] → [rows, outSize, 3] */
function resampleRows(data: Uint8Array, numRows: number, k: Kernel): Uint8Array {
  const { inSize, outSize, stride, first, count, coefficients } = k;
  const result = new Uint8Array(numRows * outSize * 3);
  let at = 0;
  for (let row = 0; row < numRows; row++) {
    const rowStart = row * inSize * 3;
    for (let out = 0; out < outSize; out++) {
      let red = half;
      let green = half;
      let blue = half;
      let from = rowStart + first[out] * 3;
      const begin = out * stride;
      const end = begin + count[out];
      for (let i = begin; i < end; i++) {
        const c = coefficients[i];
        red = (red + Math.imul(data[from], c)) | 0;
        green = (green + Math.imul(data[from + 1], c)) | 0;
        blue = (blue + Math.imul(data[from + 2], c)) | 0;
        from += 3;
      }
      result[at] = toByte(red >> precisionBits);
      result[at + 1] = toByte(green >> precisionBits);
      result[at + 2] = toByte(blue >> precisionBits);
      at += 3;
    }
  }
  return result;
}

/** [inSize, width, 3] → [outSize, width, 3] */
function resampleColumns(data: Uint8Array, widthPx: number, k: Kernel): Uint8Array {
  const { outSize, stride, first, count, coefficients } = k;
  const rowBytes = widthPx * 3;
  const result = new Uint8Array(outSize * rowBytes);
  const sums = new Int32Array(rowBytes);
  for (let out = 0; out < outSize; out++) {
    sums.fill(half);
    let from = first[out] * rowBytes;
    let i = out * stride;
    const end = i + count[out];
    // Four taps a sweep: the sums are read and written a quarter as often.
    for (; i + 4 <= end; i += 4) {
      const c0 = coefficients[i];
      const c1 = coefficients[i + 1];
      const c2 = coefficients[i + 2];
      const c3 = coefficients[i + 3];
      const row1 = from + rowBytes;
      const row2 = row1 + rowBytes;
      const row3 = row2 + rowBytes;
      for (let x = 0; x < rowBytes; x++)
        sums[x] =
          (sums[x] +
            Math.imul(data[from + x], c0) +
            Math.imul(data[row1 + x], c1) +
            Math.imul(data[row2 + x], c2) +
            Math.imul(data[row3 + x], c3)) |
          0;
      from = row3 + rowBytes;
    }
    for (; i < end; i++) {
      const c = coefficients[i];
      for (let x = 0; x < rowBytes; x++) sums[x] += Math.imul(data[from + x], c);
      from += rowBytes;
    }
    const to = out * rowBytes;
    for (let x = 0; x < rowBytes; x++) result[to + x] = toByte(sums[x] >> precisionBits);
  }
  return result;
}

function toByte(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** Catmull-Rom-like cubic with a = −0.5. */
function cubic(x: number): number {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

function sinc(x: number): number {
  if (x === 0) return 1;
  return Math.sin(x * Math.PI) / (x * Math.PI);
}
