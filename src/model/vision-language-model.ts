/**
 * A vision-language model as one object, of whichever family: parameters, the vision tower, the language
 * model. Sizes and structure come from the configuration, so that the nano model and a published
 * checkpoint run through the same lines. Left out: video, and generation, which decoder.ts adds.
 * Legend: N flat positions of a batch, H hidden size, K levels of deepstack, V vocabulary.
 */
import { VigorlError } from "../core/errors.ts";
import { layTogether, linear } from "../torch/nn.ts";
import { embedding, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { backwardOf, keptSteps, leafOf, RecomputedSteps, type Steps } from "../torch/steps.ts";
import { tensor, type Device, type DType } from "../torch/tensor.ts";
import type { Adapter } from "./adapter.ts";
import { segment } from "./attention.ts";
import type { Batch, ImageRef } from "./batch.ts";
import { patchDim, type ModelConfig } from "./config.ts";
import { languageForward, type Deepstack, type LanguageModel } from "./language.ts";
import type { Linear, Take } from "./layers.ts";
import {
  getParameter,
  isVision,
  parameterShapes,
  structure,
  type Parameters,
} from "./parameters.ts";
import { textPairs, visionPairs, type Grid } from "./rope.ts";
import { Rotary } from "./rotary.ts";
import { encodePatches, plainProducts, type TowerProducts, type VisionTower } from "./vision.ts";

export interface HiddenOptions {
  /** Encoded images of the batch (`encodeImages(batch.images, …)`); needed where it has images. */
  readonly features?: Tensor;
  /** Flat rows to return; all where absent. */
  readonly rows?: Int32Array;
  /** How sequences of different lengths meet in attention; chosen by their lengths where absent. */
  readonly layout?: "padded" | "separate";
}

/** A forward pass over a batch whose backward pass is still to come. */
export interface Pass {
  /** Outside of any graph. */
  readonly hidden: Tensor;
  /**
   * Adds to the gradients of what is trained, given the derivative by `hidden`.
   * @param collect called whenever gradients of some parameters are complete
   */
  readonly backward: (slope: Tensor, collect: () => void) => void;
}

/** Features of images whose backward pass is still to come. */
export interface Look {
  readonly features: Tensor;
  /**
   * Adds to the gradients of the tower, where that of the features does not do it.
   * @param collect called whenever gradients of some parameters are complete
   */
  readonly backward: (collect: () => void) => void;
}

export class VisionLanguageModel {
  readonly config: ModelConfig;
  /** Every parameter under its published name. Tensors stay the same objects for the model's life. */
  readonly params: Parameters;
  readonly dtype: DType;
  readonly device: Device;
  /** Folder the weights were read from; tokenizer and preprocessor files lie there. */
  readonly folder: string | undefined;
  readonly vision: VisionTower;
  readonly language: LanguageModel;
  /** The gate and the up of each SwiGLU of the language model lie together, as one matrix. */
  readonly joinsGates: boolean;
  /** Every layer that an adapter may change, by its path as parameters are named. */
  readonly linears: ReadonlyMap<string, Linear>;
  /** Disposed of with the model. */
  adapter: Adapter | null = null;
  readonly textRotary: Rotary;
  readonly visionRotary: Rotary;

  /**
   * Takes ownership of the tensors in `params`. On a GPU, which has to launch each product, the gates and
   * ups of the language model move, so that each two are one.
   * @param isLaid they have been moved already: the tensors are those of another model
   */
  constructor(config: ModelConfig, params: Parameters, folder?: string, isLaid = false) {
    checkParameters(config, params, folder);
    this.config = config;
    // One order whatever file they came from: sums over all parameters round the same way then.
    this.params = new Map(
      [...parameterShapes(config).keys()].map((name) => [name, getParameter(params, name)]),
    );
    this.folder = folder;
    const { dtype, device } = getParameter(this.params, "model.embed_tokens.weight");
    this.dtype = dtype;
    this.device = device;
    this.joinsGates = device !== "cpu";
    if (this.joinsGates && !isLaid) joinGates(this.params);
    for (const parameter of this.params.values()) parameter.keep();
    const linears = new Map<string, Linear>();
    const take: Take<Tensor> = (name) => getParameter(this.params, name);
    take.linear = (module, layer) => void linears.set(module, layer);
    const { vision, language } = structure(config, take);
    this.linears = linears;
    this.vision = vision;
    this.language = language;
    this.textRotary = new Rotary(textPairs(config.text), device);
    this.visionRotary = new Rotary(visionPairs(config.vision), device);
  }

  /**
   * Encodes images in one pass of the tower.
   * @param patchesOf flattened patches of an image, [h·w, patchDim] in the processor's order
   * @returns features [U, (1 + K) · H], one row a language position, images one after another: what
   *   stands in the place of words, and beside it what deepstack adds after the first layers
   */
  encodeImages<I extends ImageRef>(
    images: readonly I[],
    patchesOf: (image: I) => Float32Array,
  ): Tensor {
    return this.encodePatches(
      this.patchesOf(images, patchesOf),
      images.map((image) => image.grid),
    );
  }

  /** Patches of images one after another as one tensor, [P, patchDim]. */
  patchesOf<I extends ImageRef>(
    images: readonly I[],
    patchesOf: (image: I) => Float32Array,
  ): Tensor {
    const dim = patchDim(this.config.vision);
    const parts = images.map(patchesOf);
    const data = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      data.set(part, at);
      at += part.length;
    }
    return tensor(data, { shape: [data.length / dim, dim], device: this.device });
  }

  /** As `encodeImages`, from patches that are already one tensor [P, patchDim]. */
  encodePatches(
    patches: Tensor,
    grids: readonly Grid[],
    products: TowerProducts = plainProducts(this.vision, this.config.vision),
  ): Tensor {
    const { vision } = this.config;
    return encodePatches(products, vision, this.visionRotary, patches, grids).features;
  }

  /**
   * As `encodePatches`, to be followed by its backward pass behind that of what reads the features.
   * @param recompute see `pass`
   */
  look(patches: Tensor, grids: readonly Grid[], recompute: boolean): Look {
    if (!recompute) return { features: this.encodePatches(patches, grids), backward: () => {} };
    const steps = new RecomputedSteps();
    const { vision: config } = this.config;
    const products = plainProducts(this.vision, config);
    const rotary = this.visionRotary;
    const run = encodePatches(products, config, rotary, patches, grids, steps);
    return {
      features: run.features,
      backward: (collect) => {
        backwardOf([[run.embedded, steps.backward(null, collect)]]);
        collect();
      },
    };
  }

  /** Embeddings of a batch, [N, H]: words, and image features in their places. */
  embed(batch: Batch, features?: Tensor): Tensor {
    const { device } = this;
    const words = embedding(
      this.language.embedTokens,
      tensor(batch.tokens, { dtype: "int64", device }),
    );
    if (batch.imageRows.length === 0) return words;
    const rows = tensor(batch.imageRows, { dtype: "int64", device });
    return words.indexCopy(0, rows, this.#level(batch, features, 0).to(this.dtype));
  }

  /** What is added after the first layers at the image rows of a batch, where the tower gives it. */
  deepstack(batch: Batch, features?: Tensor): Deepstack | undefined {
    const numLevels = this.config.vision.deepstackBlocks.length;
    if (numLevels === 0 || batch.imageRows.length === 0) return undefined;
    const rows = tensor(batch.imageRows, { dtype: "int64", device: this.device });
    const levels = Array.from({ length: numLevels }, (_, k) =>
      this.#level(batch, features, 1 + k).to(this.dtype),
    );
    return { rows, levels };
  }

  /** Final hidden states of a batch, normed: [N, hidden], or [n, hidden] at `rows`. */
  hidden(batch: Batch, options: HiddenOptions = {}): Tensor {
    const deepstack = this.deepstack(batch, options.features);
    return this.#layers(batch, this.embed(batch, options.features), deepstack, options);
  }

  /**
   * As `hidden`, to be followed by its backward pass.
   * @param recompute keep only what goes from layer to layer, and run each again in the backward pass:
   *   gradient checkpointing, to the same bits
   */
  pass(batch: Batch, recompute: boolean, options: HiddenOptions = {}): Pass {
    if (!recompute) {
      const hidden = this.hidden(batch, options);
      const backward: Pass["backward"] = (slope, collect) => {
        backwardOf([[hidden, slope]]);
        collect();
      };
      return { hidden: hidden.detach(), backward };
    }
    const steps = new RecomputedSteps();
    const embeds = this.embed(batch, options.features);
    const levels = this.deepstack(batch, options.features);
    const leaves = levels && { ...levels, levels: levels.levels.map(leafOf) };
    const hidden = this.#layers(batch, embeds, leaves, options, steps);
    return {
      hidden,
      backward: (slope, collect) => {
        const outer = steps.backward(slope, collect);
        const deep = (levels?.levels ?? []).map(
          (level, k) => [level, leaves?.levels[k].grad ?? null] as const,
        );
        backwardOf([[embeds, outer], ...deep]);
        collect();
      },
    };
  }

  #layers(
    batch: Batch,
    embeds: Tensor,
    deepstack: Deepstack | undefined,
    options: HiddenOptions,
    steps: Steps = keptSteps,
  ): Tensor {
    const { device } = this;
    const { rows } = options;
    const { headDim } = this.config.text;
    const index = rows && tensor(rows, { dtype: "int64", device });
    // The last layer leaves out the other rows where these come in order.
    const early = rows !== undefined && ascends(rows);
    const hidden = languageForward(
      this.language,
      this.config.text,
      embeds,
      this.textRotary.at(batch.axes),
      segment(batch.lengths, { dtype: this.dtype, device, headDim }, options.layout),
      { rows: early ? index : undefined, deepstack, steps },
    );
    if (index === undefined || early) return hidden;
    return steps.run(hidden, (x) => x.indexSelect(0, index));
  }

  /** Logits [n, V] of hidden states [n, hidden]. */
  logits(hidden: Tensor): Tensor {
    return linear(hidden, this.language.head);
  }

  /** Logits [n, V] at some flat rows of hidden states [N, hidden]. */
  logitsAt(hidden: Tensor, rows: Int32Array): Tensor {
    const index = tensor(rows, { dtype: "int64", device: this.device });
    return this.logits(hidden.indexSelect(0, index));
  }

  /** Switches gradients on: for everything, or with the vision tower frozen. Returns the trained. */
  setTrainable(which: "all" | "language" | "none"): Parameters {
    const trained: Parameters = new Map();
    for (const [name, parameter] of this.params) {
      const on = which === "all" || (which === "language" && !isVision(name));
      parameter.requiresGrad_(on);
      if (on) trained.set(name, parameter);
    }
    return trained;
  }

  /** A copy with its own memory, without gradients. */
  clone(): VisionLanguageModel {
    const copies: Parameters = new Map();
    noGrad(() => {
      for (const [name, parameter] of this.params)
        copies.set(
          name,
          scope(() => parameter.detach().clone()),
        );
    });
    return new VisionLanguageModel(this.config, copies, this.folder);
  }

  /** Overwrites the weights in place with those of another model of the same configuration. */
  copyFrom(params: Parameters): void {
    checkParameters(this.config, params);
    noGrad(() => {
      for (const [name, parameter] of this.params) parameter.copy_(getParameter(params, name));
    });
  }

  dispose(): void {
    this.textRotary.dispose();
    this.visionRotary.dispose();
    this.adapter?.dispose();
    for (const parameter of this.params.values()) parameter.dispose();
  }

  /** One of the (1 + K) features of every image row, [n, H]. */
  #level(batch: Batch, features: Tensor | undefined, level: number): Tensor {
    if (features === undefined) throw new Error("a batch with images needs their features");
    const { outHiddenSize: width, deepstackBlocks } = this.config.vision;
    const rows = featuresInPlace(batch, features);
    return deepstackBlocks.length === 0 ? rows : rows.narrow(1, level * width, width);
  }
}

/** Lays the two projections of each SwiGLU of the language model together. */
function joinGates(params: Parameters): void {
  for (const name of params.keys()) {
    if (isVision(name) || !name.endsWith(".gate_proj.weight")) continue;
    const names = [name, name.replace("gate_proj", "up_proj")];
    const apart = names.map((one) => getParameter(params, one));
    for (const [i, part] of layTogether(apart).entries()) {
      params.set(names[i], part);
      apart[i].dispose();
    }
  }
}

function ascends(rows: Int32Array): boolean {
  return rows.every((row, i) => i === 0 || row > rows[i - 1]);
}

function featuresInPlace(batch: Batch, features: Tensor): Tensor {
  const { featureRows } = batch;
  if (featureRows.length === features.shape[0] && featureRows.every((row, i) => row === i))
    return features;
  return features.indexSelect(0, tensor(featureRows, { dtype: "int64", device: features.device }));
}

/** @throws VigorlError "input" where a parameter is missing, unknown or of another shape */
export function checkParameters(
  config: ModelConfig,
  found: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  place = "weights",
): void {
  const shapes = parameterShapes(config);
  const hint = "the folder is incomplete, or its config.json belongs to another model";
  const missing = [...shapes.keys()].filter((name) => !found.has(name));
  if (missing.length > 0) {
    const what = `${missing.length} of ${shapes.size} weights are missing, first ${missing[0]}`;
    throw new VigorlError("input", `${place}: ${what}`, { hint });
  }
  for (const [name, parameter] of found) {
    const shape = shapes.get(name);
    if (shape?.join() === parameter.shape.join()) continue;
    const wanted = shape === undefined ? "does not know it" : `asks for [${shape.join(", ")}]`;
    const what = `${name} [${parameter.shape.join(", ")}]`;
    throw new VigorlError("input", `${place}: ${what}, but config.json ${wanted}`, { hint });
  }
}
