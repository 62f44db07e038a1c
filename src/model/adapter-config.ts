/**
 * `adapter_config.json` of peft: which model an adapter belongs to, and its ranks and scales. Read without
 * the tensor library. What would change the computation and is not implemented (DoRA, trained biases,
 * whole modules, experts, initialisations that change the base) is refused by name.
 */
import { existsSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { findPath } from "../core/paths.ts";
import { readRegularSync } from "../core/regular-file.ts";
import type { LayerRank } from "./adapter.ts";

export const adapterConfigFile = "adapter_config.json";
/** Far more than such a file takes. */
const maxBytes = 2 ** 24;

/** The part of `adapter_config.json` that says what an adapter computes. */
export interface AdapterConfig {
  /** Folder, or name, of the model that it belongs to. */
  readonly base: string | null;
  readonly rank: number;
  readonly alpha: number;
  readonly rslora: boolean;
  readonly dropout: number;
  /** Ranks and alphas of single layers, by ends of their paths as expressions. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
}

const patternSchema = z.record(z.string(), z.number().positive()).nullish();
const known = z.looseObject({
  peft_type: z.string(),
  base_model_name_or_path: z.string().nullish(),
  r: z.int().min(1),
  lora_alpha: z.number().positive(),
  use_rslora: z.boolean().nullish(),
  lora_dropout: z.number().min(0).lt(1).nullish(),
  rank_pattern: patternSchema,
  alpha_pattern: patternSchema,
  bias: z.string().nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
});

/** Keys of peft that change nothing once an adapter is trained: the tensors say which layers have one. */
const silent = new Set([
  ...Object.keys(known.shape),
  "task_type",
  "auto_mapping",
  "peft_version",
  "revision",
  "inference_mode",
  "target_modules",
  "exclude_modules",
  "layers_to_transform",
  "layers_pattern",
  "megatron_core",
  "qalora_group_size",
  "runtime_config",
]);
/** Initialisations that leave the base as it is. */
const plainStarts: readonly unknown[] = [true, false, null, undefined, "gaussian"];

/** Whether a folder holds an adapter and no model. */
export function isAdapterFolder(folder: string): boolean {
  return existsSync(join(folder, adapterConfigFile)) && !existsSync(join(folder, "config.json"));
}

/** @throws VigorlError "input" for what is missing, damaged, or not implemented */
export function readAdapterConfig(folder: string): AdapterConfig {
  const file = join(folder, adapterConfigFile);
  if (!existsSync(file))
    throw new VigorlError("input", `${file}: not found`, {
      hint: "give a folder with adapter_config.json and adapter_model.safetensors",
    });
  const { success, data, error } = known.safeParse(parsed(file));
  if (!success) {
    const [{ path, message }] = error.issues;
    throw new VigorlError("input", `${file}: ${path.join(".")}: ${message}`);
  }
  const refuse = (what: string): never => {
    throw new VigorlError("input", `${file}: ${what} is not supported`, {
      hint: "merge the adapter into its model with peft, and give the merged folder",
    });
  };
  if (data.peft_type !== "LORA") refuse(`peft_type ${data.peft_type}`);
  if (data.bias !== undefined && data.bias !== null && data.bias !== "none")
    refuse(`bias ${data.bias}`);
  if (!plainStarts.includes(data.init_lora_weights))
    refuse(`init_lora_weights ${String(data.init_lora_weights)}, which changes the base`);
  for (const [key, value] of Object.entries(data))
    if (!silent.has(key) && isSet(value)) refuse(`${key} ${JSON.stringify(value)}`);
  return {
    base: data.base_model_name_or_path ?? null,
    rank: data.r,
    alpha: data.lora_alpha,
    rslora: data.use_rslora ?? false,
    dropout: data.lora_dropout ?? 0,
    rankPattern: data.rank_pattern ?? {},
    alphaPattern: data.alpha_pattern ?? {},
  };
}

function parsed(file: string): unknown {
  try {
    return JSON.parse(readRegularSync(file, maxBytes).toString("utf8"));
  } catch (cause) {
    if (cause instanceof VigorlError) throw cause;
    throw new VigorlError("input", `${file}: not JSON`, { cause });
  }
}

function isSet(value: unknown): boolean {
  if (value === null || value === undefined || value === false) return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

/**
 * The folder of the model that an adapter belongs to: as its configuration names it, from here or from
 * the folder itself.
 * @throws VigorlError "input" where it is not there
 */
export function baseOf(folder: string): string {
  const { base } = readAdapterConfig(folder);
  const hint = "name the model in engine.model and this folder in engine.adapter";
  if (base === null)
    throw new VigorlError("input", `${join(folder, adapterConfigFile)}: names no base model`, {
      hint,
    });
  const places = isAbsolute(base) ? [base] : [findPath(base), resolve(folder, base)];
  const found = places.find((place) => existsSync(join(place, "config.json")));
  if (found !== undefined) return found;
  throw new VigorlError("input", `${folder}: its base model ${base} is not there`, { hint });
}

/** Rank and scale of one layer, as the configuration has them. */
export function rankOf(
  { rank, alpha, rslora, rankPattern, alphaPattern }: AdapterConfig,
  path: string,
): LayerRank {
  const own = patterned(rankPattern, path) ?? rank;
  const strength = patterned(alphaPattern, path) ?? alpha;
  return { rank: own, scale: strength / (rslora ? Math.sqrt(own) : own) };
}

/** A key means the paths that end with it, in whole names, or that fit it as an expression does. */
function patterned(patterns: Readonly<Record<string, number>>, path: string): number | undefined {
  for (const [key, value] of Object.entries(patterns)) {
    try {
      if (new RegExp(`^(?:.*\\.)?(?:${key})$`).test(path)) return value;
    } catch (cause) {
      const what = `${adapterConfigFile}: the pattern ${key} is no regular expression`;
      throw new VigorlError("input", what, { cause });
    }
  }
  return undefined;
}
