/**
 * The numbers of a Qwen2.5-VL model, read from a Hugging Face `config.json`. Two layouts are in use:
 * the flat one of the published checkpoints (language keys at the top, `rope_scaling`) and the nested
 * one of current transformers (`text_config`, `rope_parameters`). Both end in the same ModelConfig.
 * Left out on purpose, with an error that says so: sliding-window layers, scaled rotary types (YaRN)
 * and activations other than SiLU, none of which the published checkpoints switch on.
 */
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import type { DType } from "../torch/tensor.ts";

export interface VisionConfig {
  readonly depth: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHeads: number;
  readonly inChannels: number;
  /** Pixels. */
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  /** Side, in patches, of the square that becomes one language position. */
  readonly spatialMergeSize: number;
  /** Side of an attention window in pixels. */
  readonly windowSize: number;
  /** Width of the features handed to the language model; equals TextConfig.hiddenSize. */
  readonly outHiddenSize: number;
  /** Blocks that attend over the whole image instead of a window. */
  readonly fullAttentionBlocks: readonly number[];
  readonly ropeTheta: number;
}

export interface TextConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** Rotary frequencies given to time, height and width; sums to headDim / 2. */
  readonly mropeSection: readonly [number, number, number];
}

export interface ModelConfig {
  readonly text: TextConfig;
  readonly vision: VisionConfig;
  readonly tieWordEmbeddings: boolean;
  readonly imageTokenId: number;
  /** Standard deviation of freshly drawn weights. */
  readonly initializerRange: number;
  /** The dtype that the checkpoint says it is stored in. */
  readonly storedDtype: DType;
  /** config.json as read; what is saved starts from it, so that keys we do not use survive. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/**
 * Parses a `config.json` of model type `qwen2_5_vl`.
 * @param source file name for messages
 * @throws VigorlError "input" for another model type, missing or contradicting numbers, and for the
 *   options that this implementation leaves out
 */
export function parseModelConfig(json: unknown, source: string): ModelConfig {
  const root = parse(rootSchema, json, source, "");
  if (root.model_type !== "qwen2_5_vl") {
    throw new VigorlError("input", `${source}: model_type is ${JSON.stringify(root.model_type)}`, {
      hint: 'give a Qwen2.5-VL model folder (model_type "qwen2_5_vl")',
    });
  }
  const nested = root.text_config !== undefined;
  const text = parse(textSchema, root.text_config ?? json, source, nested ? "text_config." : "");
  const vision = parse(visionSchema, root.vision_config, source, "vision_config.");
  const config: ModelConfig = {
    text: textConfig(text, source),
    vision: visionConfig(vision, source),
    tieWordEmbeddings: root.tie_word_embeddings === true || text.tie_word_embeddings === true,
    imageTokenId: root.image_token_id,
    initializerRange: text.initializer_range,
    storedDtype: storedDtype(root.dtype ?? root.torch_dtype ?? text.dtype ?? text.torch_dtype),
    raw: record(json),
  };
  if (config.vision.outHiddenSize !== config.text.hiddenSize) {
    fail(
      source,
      `vision_config.out_hidden_size ${config.vision.outHiddenSize} differs from hidden_size ` +
        `${config.text.hiddenSize}`,
      "the features of the tower take the place of word embeddings: make both equal",
    );
  }
  return config;
}

/** Length of one flattened patch: channels × frames × height × width (1176 as published). */
export function patchDim(vision: VisionConfig): number {
  return vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2;
}

/** Number of patches that share one language position (4 as published). */
export function mergeUnit(vision: VisionConfig): number {
  return vision.spatialMergeSize ** 2;
}

/** The `config.json` to save: the one read, with the dtype of the weights as they are written. */
export function configToSave(config: ModelConfig, dtype: DType): Record<string, unknown> {
  const raw: Record<string, unknown> = { ...config.raw };
  if ("torch_dtype" in raw) raw.torch_dtype = dtype;
  else raw.dtype = dtype;
  for (const key of ["text_config", "vision_config"]) {
    if (raw[key] === undefined || raw[key] === null) continue;
    const part = { ...record(raw[key]) };
    if ("dtype" in part) part.dtype = dtype;
    if ("torch_dtype" in part) part.torch_dtype = dtype;
    raw[key] = part;
  }
  return raw;
}

const size = z.int().positive();
const ropeSchema = z.object({
  type: z.string().optional(),
  rope_type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  mrope_section: z.array(z.int().nonnegative()).length(3).optional(),
});

const rootSchema = z.object({
  model_type: z.string(),
  tie_word_embeddings: z.boolean().optional(),
  image_token_id: z.int().nonnegative().default(151655),
  dtype: z.string().nullish(),
  torch_dtype: z.string().nullish(),
  text_config: z.record(z.string(), z.unknown()).optional(),
  vision_config: z.record(z.string(), z.unknown()),
});

const textSchema = z.object({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  hidden_act: z.string().default("silu"),
  max_position_embeddings: size.default(32768),
  rms_norm_eps: z.number().positive().default(1e-5),
  initializer_range: z.number().positive().default(0.02),
  use_sliding_window: z.boolean().nullish(),
  layer_types: z.array(z.string()).nullish(),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  dtype: z.string().nullish(),
  torch_dtype: z.string().nullish(),
});

const visionSchema = z.object({
  depth: size,
  hidden_size: size,
  intermediate_size: size,
  num_heads: size,
  in_channels: size.optional(),
  in_chans: size.optional(),
  hidden_act: z.string().default("silu"),
  patch_size: size.default(14),
  temporal_patch_size: size.default(2),
  spatial_merge_size: size.default(2),
  window_size: size.default(112),
  out_hidden_size: size,
  fullatt_block_indexes: z.array(z.int().nonnegative()).default([7, 15, 23, 31]),
  rope_parameters: ropeSchema.nullish(),
});

function textConfig(text: z.infer<typeof textSchema>, source: string): TextConfig {
  onlySilu(text.hidden_act, "hidden_act", source);
  const sliding = text.layer_types?.find((type) => type !== "full_attention");
  if (text.use_sliding_window === true || sliding !== undefined) {
    fail(
      source,
      "sliding-window attention is switched on",
      "set use_sliding_window to false and layer_types to full_attention",
    );
  }
  const rope = { ...text.rope_parameters, ...text.rope_scaling };
  const ropeType = rope.rope_type ?? rope.type ?? "default";
  if (ropeType !== "default" && ropeType !== "mrope") {
    fail(
      source,
      `rotary type ${JSON.stringify(ropeType)} is not supported`,
      'use "default" with an mrope_section',
    );
  }
  const headDim = text.head_dim ?? text.hidden_size / text.num_attention_heads;
  const numKeyValueHeads = text.num_key_value_heads ?? text.num_attention_heads;
  if (!Number.isInteger(headDim) || headDim * text.num_attention_heads !== text.hidden_size) {
    fail(
      source,
      `hidden_size ${text.hidden_size} is not num_attention_heads × head_dim`,
      "make hidden_size a multiple of num_attention_heads",
    );
  }
  if (text.num_attention_heads % numKeyValueHeads !== 0) {
    fail(
      source,
      `${text.num_attention_heads} attention heads do not divide into ${numKeyValueHeads} key-value heads`,
      "make num_attention_heads a multiple of num_key_value_heads",
    );
  }
  const [time, height, width] = rope.mrope_section ?? [16, 24, 24];
  if ((time + height + width) * 2 !== headDim) {
    fail(
      source,
      `mrope_section [${time}, ${height}, ${width}] does not sum to half of head_dim ${headDim}`,
      "the three sections share the rotary frequencies of one head: make them sum to head_dim / 2",
    );
  }
  return {
    vocabSize: text.vocab_size,
    hiddenSize: text.hidden_size,
    intermediateSize: text.intermediate_size,
    numLayers: text.num_hidden_layers,
    numHeads: text.num_attention_heads,
    numKeyValueHeads,
    headDim,
    maxPositions: text.max_position_embeddings,
    rmsNormEps: text.rms_norm_eps,
    ropeTheta: rope.rope_theta ?? text.rope_theta ?? 1e6,
    mropeSection: [time, height, width],
  };
}

function visionConfig(vision: z.infer<typeof visionSchema>, source: string): VisionConfig {
  onlySilu(vision.hidden_act, "vision_config.hidden_act", source);
  if (vision.hidden_size % (vision.num_heads * 4) !== 0) {
    fail(
      source,
      `vision_config.hidden_size ${vision.hidden_size} with ${vision.num_heads} heads leaves no ` +
        "multiple of 4 a head",
      "the two-dimensional rotary needs head dimensions that are multiples of 4",
    );
  }
  const windowTokens = vision.window_size / vision.patch_size / vision.spatial_merge_size;
  if (windowTokens < 1) {
    fail(
      source,
      `vision_config.window_size ${vision.window_size} is below one merged token`,
      "make it at least patch_size × spatial_merge_size",
    );
  }
  return {
    depth: vision.depth,
    hiddenSize: vision.hidden_size,
    intermediateSize: vision.intermediate_size,
    numHeads: vision.num_heads,
    inChannels: vision.in_channels ?? vision.in_chans ?? 3,
    patchSize: vision.patch_size,
    temporalPatchSize: vision.temporal_patch_size,
    spatialMergeSize: vision.spatial_merge_size,
    windowSize: vision.window_size,
    outHiddenSize: vision.out_hidden_size,
    fullAttentionBlocks: vision.fullatt_block_indexes,
    ropeTheta: vision.rope_parameters?.rope_theta ?? 10000,
  };
}

function storedDtype(name: string | null | undefined): DType {
  return name === "bfloat16" || name === "float16" ? name : "float32";
}

function onlySilu(name: string, key: string, source: string): void {
  if (name !== "silu") fail(source, `${key} ${JSON.stringify(name)} is not supported`, "use silu");
}

function parse<S extends z.ZodType>(
  schema: S,
  json: unknown,
  source: string,
  prefix: string,
): z.infer<S> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new VigorlError("input", `${source}: ${prefix}${issue.path.join(".")}: ${issue.message}`, {
    hint: "this is not the config.json of a Qwen2.5-VL model folder, or it is damaged",
  });
}

function record(json: unknown): Record<string, unknown> {
  return z.record(z.string(), z.unknown()).parse(json);
}

function fail(source: string, what: string, hint: string): never {
  throw new VigorlError("input", `${source}: ${what}`, { hint });
}
