/**
 * What one kind of engine is to the rest: the section of a recipe that names it, the most that it can
 * do, how `auto` becomes a value, and how it opens. A new engine is a folder that exports one of these
 * and a line in `open.ts`.
 */
import type { z } from "zod";
import type { LoraConfig, LoraStart } from "./lora.ts";
import type { Capability } from "./capabilities.ts";
import type { OptimParams, Sampler } from "./types.ts";

export interface EngineKind<Schema extends z.ZodObject, Config = z.output<Schema>> {
  /** Strict, with `kind` as a literal. */
  readonly schema: Schema;
  /** What engines of this kind can do at best: asked before anything is loaded or connected. */
  readonly can: Readonly<Record<Capability, boolean>>;
  /** What people call it: a folder, or a model at a server. */
  label(config: Config): string;
  /** Versions of libraries that it computes with, for manifests. */
  versions?(): Promise<Record<string, string>>;
  /** Folder of tokenizer, chat template and preprocessor; undefined where the section names none. */
  processorFolder(config: Config): string | undefined;
  /** Folder of the adapter that it opens over its weights; undefined where there is none. */
  adapterFolder?(config: Config): string | undefined;
  /**
   * The same engine on other weights: a model folder, or a handle of its own. Undefined for what it cannot
   * open; absent where it has no say in its weights.
   */
  onWeights?(config: Config, weights: string): Config | undefined;
  /**
   * Puts values in the place of every `auto`, from the model folder, the machine or the server. Cheap:
   * loads no weights.
   * @throws VigorlError naming what is wrong with the folder, the machine or the server
   */
  resolve(config: Config, options: ResolveOptions): Promise<Config>;
  /** How many samples it works on at once, of what `resolve` returned; absent where nobody knows. */
  numPlaces?(resolved: Config): number | undefined;
  /** What it will hold, of what `resolve` returned; absent where that is not this machine's memory. */
  memory?(resolved: Config, learning?: Learning): Promise<Memory>;
  /** Opens what `resolve` returned. */
  open(resolved: Config, options: OpenOptions): Promise<Sampler>;
}

/** What will be learned, and how it is remembered. */
export interface Learning extends Pick<OptimParams, "moments" | "masters" | "stateOn"> {
  readonly trainable: "all" | "language";
  /** An adapter is trained in place of the weights. */
  readonly lora?: LoraConfig;
  /** Log-probabilities under frozen weights are asked for. */
  readonly reference: boolean;
  /** Whether it samples, too, while it learns. Default true. */
  readonly samples?: boolean;
}

/** What an engine will hold, by what for, and what there is. */
export interface Memory {
  readonly shares: readonly {
    readonly what: string;
    readonly bytes: number;
    readonly keys: string;
  }[];
  readonly device: string;
  readonly freeBytes: number;
}

export interface ResolveOptions {
  /** What will be trained; absent where nothing will. */
  readonly trainable?: "all" | "language";
  /** An adapter is trained in place of the weights. */
  readonly lora?: LoraStart;
  /** How what is trained is remembered, for which memory is kept free. */
  readonly learning?: Learning;
  readonly signal?: AbortSignal;
}

export interface OpenOptions extends ResolveOptions {
  /** Where tokenizer, chat template and preprocessor of the prompts lie. */
  readonly processorFolder: string;
}
