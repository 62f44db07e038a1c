/** The families that open here. A new one is its file and a line in this table. */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { ModelConfig } from "../config.ts";
import type { Family } from "./family.ts";
import { qwen2_5_vl } from "./qwen2_5_vl.ts";
import { qwen2_vl } from "./qwen2_vl.ts";
import { qwen3_5 } from "./qwen3_5.ts";
import { qwen3_5_moe } from "./qwen3_5_moe.ts";
import { qwen3_vl } from "./qwen3_vl.ts";
import { qwen3_vl_moe } from "./qwen3_vl_moe.ts";

export const families: readonly Family[] = [
  qwen2_vl,
  qwen2_5_vl,
  qwen3_vl,
  qwen3_vl_moe,
  qwen3_5,
  qwen3_5_moe,
];

/** The family of the models that are made here from random weights. */
export const homeFamily: Family = qwen2_5_vl;

/**
 * The family of a `model_type`.
 * @param source file name for messages
 * @throws VigorlError "input" for one that is not in the table
 */
export function familyOf(modelType: string, source: string): Family {
  const family = families.find((one) => one.modelType === modelType);
  if (family !== undefined) return family;
  const known = families.map((one) => `${one.title} (${one.modelType})`).join(", ");
  throw new VigorlError("input", `${source}: model_type is ${JSON.stringify(modelType)}`, {
    hint: `give the folder of a model of a known family: ${known}`,
  });
}

/**
 * Parses a `config.json` by the rules of the family it names.
 * @throws VigorlError "input"
 */
export function parseModelConfig(json: unknown, source: string): ModelConfig {
  const read = z.looseObject({ model_type: z.string() }).safeParse(json);
  if (!read.success) {
    throw new VigorlError("input", `${source}: model_type is missing`, {
      hint: "this is not the config.json of a model folder, or it is damaged",
    });
  }
  return familyOf(read.data.model_type, source).readConfig(json, source);
}
