/**
 * How the model of a folder is spoken to: its family's way of naming places and of calling tools, and
 * how it wants its pixels. Reads configurations, not weights; chat template and tokenizer are the text
 * room's.
 */
import { join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { readModelJson } from "../core/json-file.ts";
import type { Coordinates } from "../image/frames.ts";
import { parsePreprocessorConfig, type PreprocessorConfig } from "../image/preprocessor-config.ts";
import type { DialectName } from "../text/dialects/table.ts";
import type { ModelConfig } from "./config.ts";
import type { Family } from "./families/family.ts";
import { familyOf } from "./families/table.ts";

export interface ModelProfile {
  readonly preprocessor: PreprocessorConfig;
  readonly coordinates: Coordinates;
  readonly dialect: DialectName;
}

/** @throws VigorlError "input" for a folder of an unknown family or without an image processor */
export async function readProfile(folder: string): Promise<ModelProfile> {
  const file = join(folder, "config.json");
  const json = await readModelJson(file);
  if (json === undefined) throw missing(file);
  const { model_type: modelType } = parseAs(z.looseObject({ model_type: z.string() }), json, file);
  const family = familyOf(modelType, file);
  const { coordinates, dialect } = family;
  return { preprocessor: await readPreprocessor(folder, family), coordinates, dialect };
}

/**
 * How a folder's model wants its pixels. As in transformers, the image processor of
 * `processor_config.json` goes before `preprocessor_config.json` where both are there.
 */
export async function readPreprocessor(
  folder: string,
  family: Family,
): Promise<PreprocessorConfig> {
  const whole = join(folder, "processor_config.json");
  const parts = parseAs(z.looseObject({}), (await readModelJson(whole)) ?? {}, whole);
  if (parts.image_processor !== undefined) {
    const place = `${whole}: image_processor`;
    return parsePreprocessorConfig(parts.image_processor, place, family.preprocessor);
  }
  const own = join(folder, "preprocessor_config.json");
  const json = await readModelJson(own);
  if (json === undefined) throw missing(own);
  return parsePreprocessorConfig(json, own, family.preprocessor);
}

/**
 * Checks that the image processor cuts images into what the tower takes.
 * @throws VigorlError "input"
 */
export function requireSamePatches(
  { patchSize, temporalPatchSize, mergeSize }: PreprocessorConfig,
  { vision }: ModelConfig,
  folder: string,
): void {
  const pairs = [
    ["patch_size", patchSize, "patch_size", vision.patchSize],
    ["temporal_patch_size", temporalPatchSize, "temporal_patch_size", vision.temporalPatchSize],
    ["merge_size", mergeSize, "spatial_merge_size", vision.spatialMergeSize],
  ] as const;
  for (const [key, here, other, there] of pairs) {
    if (here === there) continue;
    const what = `the image processor's ${key} is ${here}, config.json's vision_config.${other} ${there}`;
    throw new VigorlError("input", `${folder}: ${what}`, {
      hint: "take both files from the same published model",
    });
  }
}

function parseAs<T>(schema: z.ZodType<T>, json: unknown, file: string): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  throw new VigorlError("input", `${file}: ${z.prettifyError(result.error)}`);
}

function missing(file: string): VigorlError {
  return new VigorlError("input", `${file} is missing`, {
    hint: "name a model folder in Hugging Face layout; copy the file from where the model was published",
  });
}
