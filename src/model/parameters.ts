/**
 * Names and shapes of every parameter. Inside, names are those of the first published checkpoints
 * (`visual.…`, `model.…`, `lm_head.weight`); the module paths of transformers (`model.visual.…`,
 * `model.language_model.…`) are accepted when a folder is read, and each family writes its own.
 */
import type { Tensor } from "../torch/ops.ts";
import type { ModelConfig } from "./config.ts";
import { familyOf } from "./families/table.ts";
import { languageModel, type LanguageModel } from "./language.ts";
import type { Take } from "./layers.ts";
import { visionTower, type VisionTower } from "./vision.ts";

export type Parameters = Map<string, Tensor>;

/** The two halves of a model, of tensors or of whatever else stands for a parameter. */
export interface Structure<T> {
  readonly vision: VisionTower<T>;
  readonly language: LanguageModel<T>;
}

/** The structure of a configuration; asks for every parameter in the order of the forward pass. */
export function structure<T>(config: ModelConfig, take: Take<T>): Structure<T> {
  const { tower } = familyOf(config.family, "config");
  return {
    vision: visionTower(take, config.vision, tower),
    language: languageModel(take, config.text, config.tieWordEmbeddings),
  };
}

/** Shape of every parameter of a configuration, in the order of the forward pass. */
export function parameterShapes(config: ModelConfig): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  structure(config, (name, shape) => {
    shapes.set(name, shape);
    return null;
  });
  return shapes;
}

/** The published name of a parameter, whichever of the known names it comes under. */
export function canonicalName(name: string): string {
  return name
    .replace(/^model\.visual\./, "visual.")
    .replace(/^(model\.language_model|language_model\.model)\./, "model.")
    .replace(/^language_model\.lm_head\./, "lm_head.");
}

/** Whether a parameter belongs to the vision tower (its merger included). */
export function isVision(name: string): boolean {
  return name.startsWith("visual.");
}

/** Whether a parameter is the gain of a norm. */
export function isNorm(name: string): boolean {
  return /(norm[12]?|layernorm|ln_q)\.weight$/.test(name);
}

/** Whether weight decay leaves a parameter alone: norms, biases, and how delta nets forget. */
export function isUndecayed(name: string): boolean {
  return isNorm(name) || /\.(bias|dt_bias|A_log)$/.test(name);
}

export function getParameter(parameters: Parameters, name: string): Tensor {
  const found = parameters.get(name);
  if (found === undefined) throw new Error(`no parameter ${name}`);
  return found;
}
