/**
 * What a published family of vision-language models is: how its `config.json` reads, what its
 * parameters are called, and how its models are spoken to where their folder does not say. One file a
 * family, named as its `model_type`; everything outside this folder is written against ModelConfig and
 * VisionLanguageModel and knows no family.
 */
import type { Coordinates } from "../../image/frames.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import type { DialectName } from "../../text/dialects/table.ts";
import type { ModelConfig } from "../config.ts";

export interface Family {
  /** `model_type` of config.json. */
  readonly modelType: string;
  /** The name that its authors gave it. */
  readonly title: string;
  /** The model's class in transformers. */
  readonly architecture: string;
  /** The processor's class in transformers. */
  readonly processor: string;
  /** The image processor's class in transformers. */
  readonly imageProcessor: string;
  /**
   * @param source file name for messages
   * @throws VigorlError "input" for missing or contradicting numbers, and for what would change the
   *   computation and is not implemented
   */
  readonly readConfig: (json: unknown, source: string) => ModelConfig;
  readonly tower: TowerNames;
  /** The name in published files of a parameter `visual.…`, `model.…` or `lm_head.…`. */
  readonly publishedName: (name: string) => string;
  /**
   * Whether the matrices of a parameter lie the other way round in published files; folders that do so
   * and folders that do not are told apart by the shape.
   */
  readonly liesTransposed?: (name: string) => boolean;
  /** Parameters in published files that belong to parts which are not run here, by canonical name. */
  readonly passesOver?: (name: string) => boolean;
  /** What the preprocessor does where its file says nothing. */
  readonly preprocessor: PreprocessorConfig;
  readonly coordinates: Coordinates;
  /** How its models write tool calls. */
  readonly dialect: DialectName;
}

/** What the layers of the vision tower are called where families differ. */
export interface TowerNames {
  readonly gate?: string;
  readonly up: string;
  readonly down: string;
  readonly mergerNorm: string;
  readonly mergerIn: string;
  readonly mergerOut: string;
}

/** Of families whose files leave out the module path of the language model. */
export function shortNames(name: string): string {
  return name;
}

/** Of families whose files have the module paths of transformers. */
export function modulePaths(name: string): string {
  if (name.startsWith("visual.")) return `model.${name}`;
  return name.replace(/^model\./, "model.language_model.");
}
