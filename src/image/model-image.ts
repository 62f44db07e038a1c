/**
 * What the model sees: an image at its final size, named by the hash of its pixels, with its grid of
 * patches. The hash is the identity of an image in traces and in the parity gate, so sampler and
 * learner can prove that they looked at the same thing. `patches` makes the vision tower's input.
 *
 * Legend: grid t × h × w counts patches; a token is mergeSize × mergeSize of them.
 */

import { createHash } from "node:crypto";
import type { RgbImage } from "./decode.ts";
import type { Size } from "./frames.ts";
import { tokenSide, type PreprocessorConfig } from "./preprocessor-config.ts";
import type { ReadingName } from "./reading.ts";
import { resize, type ResizeOrder } from "./resize.ts";
import { smartResize, withinSide } from "./smart-resize.ts";

export interface ModelImage extends RgbImage {
  /** First 32 hex digits of the SHA-256 of size and pixels. */
  readonly hash: string;
  /** Patches along time, height and width. */
  readonly grid: { readonly t: 1; readonly h: number; readonly w: number };
  /** Visual tokens: h × w / mergeSize². */
  readonly numTokens: number;
}

/**
 * The area and the longest side, in pixels, that an image is brought into before the model sees it, and
 * whose rules are followed where references disagree.
 */
export interface PixelBudget {
  readonly minPixels: number;
  readonly maxPixels: number;
  readonly maxSide?: number;
  readonly reading?: ReadingName;
  readonly resize?: ResizeOrder;
}

/**
 * Brings an image to the size the model sees (`withinSide`, `smartResize`, Pillow's bicubic); pixels
 * stay as they are when the size already fits. Throws VigorlError("input") for aspect ratios above 200.
 */
export function toModelImage(
  image: RgbImage,
  budget: PixelBudget,
  config: PreprocessorConfig,
): ModelImage {
  const { patchSize, mergeSize } = config;
  const factor = tokenSide(config);
  const limited =
    budget.maxSide === undefined
      ? image
      : resize(image, withinSide(image, budget.maxSide), "bicubic", budget.resize);
  const { heightPx, widthPx } = limited;
  const size = smartResize(heightPx, widthPx, { ...budget, factor });
  const seen = resize(limited, size, "bicubic", budget.resize);
  const h = seen.heightPx / patchSize;
  const w = seen.widthPx / patchSize;
  const numTokens = (h * w) / (mergeSize * mergeSize);
  return { ...seen, hash: imageHash(seen), grid: { t: 1, h, w }, numTokens };
}

/**
 * The size of the frame in which the published evaluation keeps truths and points: sides are rounded
 * to tokens only where the area is too large, though the model's processor then rounds them always.
 */
export function unroundedSize(own: Size, budget: PixelBudget, config: PreprocessorConfig): Size {
  const { widthPx, heightPx } = withinSide(own, budget.maxSide);
  if (widthPx * heightPx <= budget.maxPixels) return { widthPx, heightPx };
  return smartResize(heightPx, widthPx, { ...budget, factor: tokenSide(config) });
}

/**
 * Cuts the image into normalised patches for the vision tower: shape [h·w, 3 · temporalPatchSize ·
 * patchSize²], float32. Patches of one token are neighbours, tokens run row by row; inside a patch the
 * order is channel, frame, y, x. Values are (level/255 − mean)/std.
 * Source: transformers, `Qwen2VLImageProcessorPil` (equal within 1e-6).
 */
export function patches(image: ModelImage, config: PreprocessorConfig): Float32Array {
  const { patchSize, temporalPatchSize, mergeSize } = config;
  const { h, w } = image.grid;
  const { data, widthPx } = image;
  const tables = normalisationTables(config);
  const area = patchSize * patchSize;
  const result = new Float32Array(h * w * 3 * temporalPatchSize * area);
  let at = 0;
  for (let tokenY = 0; tokenY < h; tokenY += mergeSize)
    for (let tokenX = 0; tokenX < w; tokenX += mergeSize)
      for (let patchY = tokenY; patchY < tokenY + mergeSize; patchY++)
        for (let patchX = tokenX; patchX < tokenX + mergeSize; patchX++) {
          const origin = (patchY * patchSize * widthPx + patchX * patchSize) * 3;
          for (let channel = 0; channel < 3; channel++) {
            const table = tables[channel];
            const start = at;
            for (let y = 0; y < patchSize; y++) {
              let from = origin + y * widthPx * 3 + channel;
              for (let x = 0; x < patchSize; x++) {
                result[at++] = table[data[from]];
                from += 3;
              }
            }
            for (let frame = 1; frame < temporalPatchSize; frame++) {
              result.copyWithin(at, start, start + area);
              at += area;
            }
          }
        }
  return result;
}

/** The identity of an image: 32 hex digits of SHA-256 over width, height (u32, little-endian) and RGB. */
export function imageHash(image: RgbImage): string {
  const size = new Uint8Array(8);
  const view = new DataView(size.buffer);
  view.setUint32(0, image.widthPx, true);
  view.setUint32(4, image.heightPx, true);
  return createHash("sha256").update(size).update(image.data).digest("hex").slice(0, 32);
}

/** A black image of the same grid: what the model gets when a control takes its sight away. */
export function blankLike(image: ModelImage): ModelImage {
  const blank = { ...image, data: new Uint8Array(image.data.length) };
  return { ...blank, hash: imageHash(blank) };
}

/** For each channel, the normalised value of every 8-bit level. */
export function normalisationTables(config: PreprocessorConfig): Float32Array[] {
  return [0, 1, 2].map((channel) =>
    Float32Array.from(
      { length: 256 },
      (_, level) => (level / 255 - config.imageMean[channel]) / config.imageStd[channel],
    ),
  );
}
