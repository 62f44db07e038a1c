/**
 * How a model wants its pixels: patch sizes, pixel budget, mean and standard deviation. Read from the
 * `preprocessor_config.json` of a model folder; keys that do not change the pixels are passed over,
 * settings that we would not honour are refused.
 */

import { z } from "zod";
import { VigorlError } from "../core/errors.ts";

export interface PreprocessorConfig {
  /** Side of a vision patch in pixels. */
  readonly patchSize: number;
  /** How many frames one patch spans; a still image is repeated. */
  readonly temporalPatchSize: number;
  /** Patches merged into one visual token, a side. */
  readonly mergeSize: number;
  /** Of R, G, B, on the 0–1 scale. */
  readonly imageMean: readonly [number, number, number];
  readonly imageStd: readonly [number, number, number];
  readonly minPixels: number;
  readonly maxPixels: number;
}

/** The values Qwen2-VL and Qwen2.5-VL are published with (mean and deviation are CLIP's). */
export const qwenPreprocessor: PreprocessorConfig = {
  patchSize: 14,
  temporalPatchSize: 2,
  mergeSize: 2,
  imageMean: [0.48145466, 0.4578275, 0.40821073],
  imageStd: [0.26862954, 0.26130258, 0.27577711],
  minPixels: 3136,
  maxPixels: 12_845_056,
};

/**
 * Parses the JSON of a `preprocessor_config.json`; absent keys take Qwen's values.
 * `source` names the file in errors. Throws VigorlError("input").
 */
export function parsePreprocessorConfig(json: unknown, source: string): PreprocessorConfig {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new VigorlError("input", `${source}: ${issue.path.join(".")}: ${issue.message}`, {
      hint: "use the preprocessor_config.json of a Qwen2-VL or Qwen2.5-VL model",
    });
  }
  const read = parsed.data;
  const config = {
    patchSize: read.patch_size ?? qwenPreprocessor.patchSize,
    temporalPatchSize: read.temporal_patch_size ?? qwenPreprocessor.temporalPatchSize,
    mergeSize: read.merge_size ?? qwenPreprocessor.mergeSize,
    imageMean: read.image_mean ?? qwenPreprocessor.imageMean,
    imageStd: read.image_std ?? qwenPreprocessor.imageStd,
    minPixels: read.min_pixels ?? read.size?.shortest_edge ?? qwenPreprocessor.minPixels,
    maxPixels: read.max_pixels ?? read.size?.longest_edge ?? qwenPreprocessor.maxPixels,
  };
  if (config.minPixels > config.maxPixels)
    throw new VigorlError(
      "input",
      `${source}: min_pixels ${config.minPixels} is larger than max_pixels ${config.maxPixels}`,
      { hint: "swap them" },
    );
  return config;
}

const positive = z.int().positive();
const triple = z.tuple([z.number(), z.number(), z.number()]);

const schema = z.object({
  patch_size: positive.optional(),
  temporal_patch_size: positive.optional(),
  merge_size: positive.optional(),
  image_mean: triple.optional(),
  image_std: z
    .tuple([z.number().positive(), z.number().positive(), z.number().positive()])
    .optional(),
  min_pixels: positive.nullish(),
  max_pixels: positive.nullish(),
  size: z
    .object({ shortest_edge: positive.optional(), longest_edge: positive.optional() })
    .nullish(),
  do_resize: z.literal(true).optional(),
  do_rescale: z.literal(true).optional(),
  do_normalize: z.literal(true).optional(),
  do_convert_rgb: z.literal(true).optional(),
  /** 3 is Pillow's number of the bicubic filter. */
  resample: z.literal(3).optional(),
  rescale_factor: z
    .number()
    .refine((value) => Math.abs(value * 255 - 1) < 1e-6, "only 1/255 is supported")
    .optional(),
});
