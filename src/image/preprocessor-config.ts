/**
 * How a model wants its pixels: patch sizes, pixel budget, mean and standard deviation. Read from a
 * model folder's `preprocessor_config.json`, or from the `image_processor` that newer folders keep in
 * `processor_config.json`. Keys that do not change the pixels are passed over, settings that we would not
 * honour are refused, and a default of the family stands in where the file says nothing.
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

/** Side of the square of pixels that becomes one visual token. */
export function tokenSide({ patchSize, mergeSize }: PreprocessorConfig): number {
  return patchSize * mergeSize;
}

/**
 * Parses the JSON of an image processor; absent keys take the values of `defaults`.
 * @param source names the file in errors
 * @throws VigorlError "input"
 */
export function parsePreprocessorConfig(
  json: unknown,
  source: string,
  defaults: PreprocessorConfig,
): PreprocessorConfig {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new VigorlError("input", `${source}: ${issue.path.join(".")}: ${issue.message}`, {
      hint: "use the image processor's file as it was published with the model",
    });
  }
  const read = parsed.data;
  const { size } = read;
  const config = {
    patchSize: read.patch_size ?? defaults.patchSize,
    temporalPatchSize: read.temporal_patch_size ?? defaults.temporalPatchSize,
    mergeSize: read.merge_size ?? defaults.mergeSize,
    imageMean: read.image_mean ?? defaults.imageMean,
    imageStd: read.image_std ?? defaults.imageStd,
    minPixels: read.min_pixels ?? size?.shortest_edge ?? size?.min_pixels ?? defaults.minPixels,
    maxPixels: read.max_pixels ?? size?.longest_edge ?? size?.max_pixels ?? defaults.maxPixels,
  };
  if (config.minPixels > config.maxPixels)
    throw new VigorlError(
      "input",
      `${source}: min_pixels ${config.minPixels} is larger than max_pixels ${config.maxPixels}`,
      { hint: "swap them" },
    );
  return config;
}

const positive = z
  .int()
  .positive()
  .max(2 ** 31);
/** Patches of absurd sides would ask for absurd memory. */
const side = z.int().positive().max(1024);
/** Smaller images are made as large as this many pixels. */
const fewest = z
  .int()
  .positive()
  .max(2 ** 24);
/** Of levels from 0 to 1. */
const mean = z.number().min(-100).max(100);
const deviation = z.number().min(1e-4).max(1e4);
/** Newer files write null for the class's own default. */
const switchedOn = z.literal(true).nullish();
const switchedOff = z.literal(false).nullish();

const schema = z.object({
  image_processor_type: z
    .string()
    .regex(/^Qwen\w*ImageProcessor(Fast|Pil)?$/, "is not an image processor that is known here")
    .nullish(),
  patch_size: side.nullish(),
  temporal_patch_size: side.nullish(),
  merge_size: side.nullish(),
  image_mean: z.tuple([mean, mean, mean]).nullish(),
  image_std: z.tuple([deviation, deviation, deviation]).nullish(),
  min_pixels: fewest.nullish(),
  max_pixels: positive.nullish(),
  /** Areas, whatever their names say. */
  size: z
    .strictObject({
      shortest_edge: fewest.nullish(),
      longest_edge: positive.nullish(),
      min_pixels: fewest.nullish(),
      max_pixels: positive.nullish(),
    })
    .nullish(),
  do_resize: switchedOn,
  do_rescale: switchedOn,
  do_normalize: switchedOn,
  do_convert_rgb: switchedOn,
  do_center_crop: switchedOff,
  do_pad: switchedOff,
  /** 3 is Pillow's number of the bicubic filter. */
  resample: z.literal(3).nullish(),
  rescale_factor: z
    .number()
    .refine((value) => Math.abs(value * 255 - 1) < 1e-6, "only 1/255 is supported")
    .nullish(),
});
