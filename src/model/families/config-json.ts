/**
 * What the `config.json` of all families have in common. Two layouts are in use: the flat one of the
 * older published checkpoints (language keys at the top, `rope_scaling`) and the nested one
 * (`text_config`, `rope_parameters`); both end in the same ModelConfig. Keys that change the computation
 * and are not honoured (quantised weights, sliding windows, rotary types but YaRN, other activations) are
 * refused by name; a default stands in only where the file says nothing.
 */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import type { DType } from "../../torch/tensor.ts";
import type { ModelConfig, TextConfig, VisionConfig, YarnConfig } from "../config.ts";

/** What a family says of its language layers beside the numbers in the file. */
export interface TextTraits extends Pick<
  TextConfig,
  "attentionBias" | "headNorms" | "mropeInterleaved" | "centredNorms" | "outputGates"
> {
  /** Whether some layers have delta nets: "linear_attention" in layer_types. */
  readonly hasDelta: boolean;
  /** Where the file does not say. */
  readonly defaults: Pick<
    TextConfig,
    "rmsNormEps" | "ropeTheta" | "mropeSection" | "maxPositions"
  > & {
    readonly headDim?: number;
    /** Of families all of whose layers have experts, whose files may leave it out. */
    readonly intermediateSize?: number;
    /** Share of a head that rotates, in families where this is not all of it. */
    readonly rotaryShare?: number;
  };
}

/** What a family says of its tower beside the numbers in the file. */
export interface VisionTraits extends Pick<VisionConfig, "patchBias" | "norm" | "mlp"> {
  /** The activation by the name that the file gives it. */
  readonly activation: string;
}

export interface ConfigFile {
  readonly source: string;
  readonly json: unknown;
  readonly root: z.infer<typeof rootSchema>;
  readonly text: z.infer<typeof textSchema>;
  /** Parses more of what the file says of the language model. */
  readonly readText: <S extends z.ZodType>(schema: S) => z.infer<S>;
}

/** Parses what all families read. @throws VigorlError "input" */
export function openConfig(
  json: unknown,
  source: string,
  imageTokenId = 151655,
  /** Keys that change the computation and that the family reads itself. */
  honoured: readonly string[] = [],
): ConfigFile {
  refuseUnhonoured(json, source, honoured);
  const schema = rootSchema.extend({
    image_token_id: z.int().nonnegative().default(imageTokenId),
  });
  const root = parsePart(schema, json, source, "");
  const prefix = root.text_config === undefined ? "" : "text_config.";
  const readText: ConfigFile["readText"] = (schema) =>
    parsePart(schema, root.text_config ?? json, source, prefix);
  return { source, json, root, text: readText(textSchema), readText };
}

/** Parses `vision_config` by the family's own schema. */
export function readVision<S extends z.ZodType>(
  { root, source }: ConfigFile,
  schema: S,
): z.infer<S> {
  return parsePart(schema, root.vision_config, source, "vision_config.");
}

/** Puts the parts together. */
export function modelConfig(
  { root, text: read, json, source }: ConfigFile,
  text: TextConfig,
  vision: VisionConfig,
  tieWordEmbeddings: boolean,
): ModelConfig {
  if (vision.outHiddenSize !== text.hiddenSize) {
    fail(
      source,
      `vision_config.out_hidden_size ${vision.outHiddenSize} differs from hidden_size ${text.hiddenSize}`,
      "the features of the tower take the place of word embeddings: make both equal",
    );
  }
  return {
    family: root.model_type,
    text,
    vision,
    tieWordEmbeddings,
    imageTokenId: root.image_token_id,
    initializerRange: read.initializer_range,
    storedDtype: storedDtype(
      root.dtype ?? root.torch_dtype ?? read.dtype ?? read.torch_dtype ?? "float32",
      source,
    ),
    raw: z.record(z.string(), z.unknown()).parse(json),
  };
}

/** The language model's numbers. @throws VigorlError "input" */
export function readText(
  { text, source }: ConfigFile,
  { defaults, hasDelta, ...traits }: TextTraits,
): TextConfig {
  onlyActivation("silu", text.hidden_act, "hidden_act", source);
  const known = ["full_attention", ...(hasDelta ? ["linear_attention"] : [])];
  const other = text.layer_types?.find((type) => !known.includes(type));
  if (text.use_sliding_window === true || other !== undefined) {
    fail(
      source,
      other === undefined || other === "sliding_attention"
        ? "sliding-window attention is switched on"
        : `layer_types names ${JSON.stringify(other)}, which is not supported`,
      `set use_sliding_window to false and layer_types to ${known.join(" or ")}`,
    );
  }
  if (text.attention_bias !== undefined && text.attention_bias !== traits.attentionBias) {
    fail(
      source,
      `attention_bias ${text.attention_bias} is not supported`,
      `models of this family are published with ${traits.attentionBias}`,
    );
  }
  const rope = { ...text.rope_parameters, ...text.rope_scaling };
  const maxPositions = text.max_position_embeddings ?? defaults.maxPositions;
  const yarn = readYarn(rope, maxPositions, source);
  const { rotaryShare } = defaults;
  const share = rope.partial_rotary_factor ?? text.partial_rotary_factor ?? rotaryShare ?? 1;
  if (rotaryShare === undefined && share !== 1)
    fail(source, `partial_rotary_factor ${share} is not supported`, "use 1");
  if (rope.mrope_interleaved !== undefined && rope.mrope_interleaved !== traits.mropeInterleaved) {
    fail(
      source,
      `mrope_interleaved ${rope.mrope_interleaved} is not supported`,
      `models of this family are published with ${traits.mropeInterleaved}`,
    );
  }
  const numHeads = text.num_attention_heads;
  const headDim = text.head_dim ?? defaults.headDim ?? text.hidden_size / numHeads;
  const numKeyValueHeads = text.num_key_value_heads ?? numHeads;
  if (!Number.isInteger(headDim)) {
    fail(
      source,
      `hidden_size ${text.hidden_size} is not num_attention_heads × head_dim`,
      "make hidden_size a multiple of num_attention_heads",
    );
  }
  if (numHeads % numKeyValueHeads !== 0) {
    fail(
      source,
      `${numHeads} attention heads do not divide into ${numKeyValueHeads} key-value heads`,
      "make num_attention_heads a multiple of num_key_value_heads",
    );
  }
  const rotaryDim = Math.trunc(headDim * share);
  if (rotaryDim < 2 || rotaryDim % 2 !== 0 || headDim % rotaryDim !== 0) {
    const what = `partial_rotary_factor ${share} rotates ${rotaryDim} of the ${headDim} numbers of a head`;
    fail(source, what, "make that an even number that divides head_dim");
  }
  const [time, height, width] = rope.mrope_section ?? defaults.mropeSection;
  if ((time + height + width) * 2 !== rotaryDim) {
    const whole = rotaryDim === headDim ? "head_dim" : "the rotating part";
    fail(
      source,
      `mrope_section [${time}, ${height}, ${width}] does not sum to half of ${whole} ${rotaryDim}`,
      `the three sections share the rotary frequencies of one head: make them sum to half of ${whole}`,
    );
  }
  const intermediateSize = text.intermediate_size ?? defaults.intermediateSize;
  if (intermediateSize === undefined)
    return fail(
      source,
      "intermediate_size is missing",
      "copy config.json from the published model",
    );
  return {
    ...traits,
    vocabSize: text.vocab_size,
    hiddenSize: text.hidden_size,
    intermediateSize,
    numLayers: text.num_hidden_layers,
    numHeads,
    numKeyValueHeads,
    headDim,
    rotaryDim,
    maxPositions,
    rmsNormEps: text.rms_norm_eps ?? defaults.rmsNormEps,
    ropeTheta: rope.rope_theta ?? text.rope_theta ?? defaults.ropeTheta,
    mropeSection: [time, height, width],
    ...(yarn === undefined ? {} : { yarn }),
  };
}

/** Numbers of a tower under the names that families agree on; `read` is what `towerSchema` gives. */
export function readTower(
  read: z.infer<typeof towerSchema>,
  { activation, ...traits }: VisionTraits,
  own: Pick<VisionConfig, "hiddenSize" | "intermediateSize" | "outHiddenSize"> &
    Partial<
      Pick<VisionConfig, "windowSize" | "fullAttentionBlocks" | "positionsSide" | "deepstackBlocks">
    >,
  patchSize: number,
  source: string,
): VisionConfig {
  const { hiddenSize } = own;
  onlyActivation(activation, read.hidden_act ?? activation, "vision_config.hidden_act", source);
  if (hiddenSize % (read.num_heads * 4) !== 0) {
    fail(
      source,
      `vision_config.hidden_size ${hiddenSize} with ${read.num_heads} heads leaves no multiple of 4 a head`,
      "the two-dimensional rotary needs head dimensions that are multiples of 4",
    );
  }
  const inChannels = read.in_channels ?? read.in_chans ?? 3;
  if (inChannels !== 3)
    fail(source, `vision_config.in_channels ${inChannels} is not supported`, "images have 3");
  return {
    windowSize: Infinity,
    fullAttentionBlocks: [],
    positionsSide: 0,
    deepstackBlocks: [],
    ...traits,
    ...own,
    depth: read.depth,
    numHeads: read.num_heads,
    inChannels,
    patchSize: read.patch_size ?? patchSize,
    temporalPatchSize: read.temporal_patch_size,
    spatialMergeSize: read.spatial_merge_size,
    ropeTheta: read.rope_parameters?.rope_theta ?? 10000,
  };
}

export function fail(source: string, what: string, hint: string): never {
  throw new VigorlError("input", `${source}: ${what}`, { hint });
}

/** Numbers that memory is asked for by are bounded: a damaged file is an error, not a wait. */
export const size = z
  .int()
  .positive()
  .max(2 ** 24);
export const count = z.int().positive().max(4096);

const ropeSchema = z.object({
  type: z.string().optional(),
  rope_type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  mrope_section: z.array(z.int().nonnegative()).length(3).optional(),
  mrope_interleaved: z.boolean().optional(),
  partial_rotary_factor: z.number().positive().max(1).optional(),
  factor: z.number().min(1).nullish(),
  original_max_position_embeddings: size.nullish(),
  attention_factor: z.number().positive().nullish(),
  beta_fast: z.number().positive().nullish(),
  beta_slow: z.number().positive().nullish(),
  mscale: z.number().positive().nullish(),
  mscale_all_dim: z.number().positive().nullish(),
  truncate: z.boolean().nullish(),
});

const rootSchema = z.object({
  model_type: z.string(),
  tie_word_embeddings: z.boolean().optional(),
  image_token_id: z.int().nonnegative(),
  dtype: z.string().nullish(),
  torch_dtype: z.string().nullish(),
  text_config: z.record(z.string(), z.unknown()).optional(),
  vision_config: z.record(z.string(), z.unknown()),
});

const textSchema = z.object({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size.optional(),
  num_hidden_layers: count,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  hidden_act: z.string().default("silu"),
  max_position_embeddings: size.optional(),
  rms_norm_eps: z.number().positive().optional(),
  initializer_range: z.number().positive().default(0.02),
  use_sliding_window: z.boolean().nullish(),
  layer_types: z.array(z.string()).nullish(),
  attention_bias: z.boolean().optional(),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  partial_rotary_factor: z.number().positive().max(1).optional(),
  tie_word_embeddings: z.boolean().nullish(),
  dtype: z.string().nullish(),
  torch_dtype: z.string().nullish(),
});

/** Keys of `vision_config` that all families have. */
export const towerSchema = z.object({
  depth: count,
  num_heads: size,
  in_channels: size.optional(),
  in_chans: size.optional(),
  hidden_act: z.string().optional(),
  patch_size: size.optional(),
  temporal_patch_size: size.default(2),
  spatial_merge_size: size.default(2),
  rope_parameters: ropeSchema.nullish(),
});

/**
 * Keys of other models that change the computation, with the values at which they do not (null is one for
 * all): whoever writes another one means a model that this is not.
 */
const neutralValues: Readonly<Record<string, readonly unknown[]>> = {
  quantization_config: [],
  compression_config: [],
  alibi: [false],
  attention_chunk_size: [],
  attention_multiplier: [1],
  attn_logit_softcapping: [],
  attn_output_gate: [false],
  attn_temperature_tuning: [false, 0],
  clip_qkv: [],
  embedding_multiplier: [1],
  final_logit_softcapping: [],
  is_causal: [true],
  logit_scale: [1],
  logits_scaling: [1],
  mlp_bias: [false],
  num_kv_shared_layers: [0],
  parallel_attn: [false],
  query_pre_attn_scalar: [],
  residual_multiplier: [1],
  use_bidirectional_attention: [false],
};

/** @throws VigorlError "input" naming the key */
function refuseUnhonoured(json: unknown, source: string, honoured: readonly string[]): void {
  const part = z.looseObject({}).nullish();
  const parts = z.looseObject({ text_config: part, vision_config: part }).safeParse(json).data;
  for (const one of [parts, parts?.text_config, parts?.vision_config])
    for (const [key, neutral] of Object.entries(neutralValues)) {
      const value = one?.[key];
      if (value === undefined || value === null || neutral.includes(value)) continue;
      if (honoured.includes(key)) continue;
      if (key.endsWith("n_config")) {
        fail(
          source,
          `${key} says that the weights are quantised, which is not supported`,
          "use the folder of the same model in bfloat16",
        );
      }
      fail(
        source,
        `${key} ${JSON.stringify(value)} is not supported, and changes what the model computes`,
        "this is a model of another kind than its model_type says",
      );
    }
}

/** YaRN where the file switches it on. @throws VigorlError "input" for any other rotary type */
function readYarn(
  rope: z.infer<typeof ropeSchema>,
  maxPositions: number,
  source: string,
): YarnConfig | undefined {
  const type = rope.rope_type ?? rope.type ?? "default";
  if (type === "default" || type === "mrope") return undefined;
  if (type !== "yarn") {
    const what = `rotary type ${JSON.stringify(type)} is not supported`;
    fail(source, what, 'use "default" or "yarn" with an mrope_section');
  }
  const original = rope.original_max_position_embeddings;
  if (original === undefined || original === null) {
    const what = "original_max_position_embeddings of the rotary type yarn is missing";
    return fail(source, what, "give the length that the model was first trained on");
  }
  const factor = rope.factor ?? maxPositions / original;
  const growth = (by: number): number => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  const { mscale, mscale_all_dim: all } = rope;
  const inferred = mscale && all ? growth(mscale) / growth(all) : growth(1);
  return {
    factor,
    originalMaxPositions: original,
    attentionFactor: rope.attention_factor ?? inferred,
    betaFast: rope.beta_fast ?? 32,
    betaSlow: rope.beta_slow ?? 1,
    truncate: rope.truncate ?? true,
  };
}

function storedDtype(name: string, source: string): DType {
  if (name === "bfloat16" || name === "float16" || name === "float32") return name;
  return fail(source, `dtype ${JSON.stringify(name)} is not supported`, "use bfloat16 or float32");
}

function onlyActivation(wanted: string, name: string, key: string, source: string): void {
  if (name === wanted) return;
  fail(source, `${key} ${JSON.stringify(name)} is not supported`, `use ${wanted}`);
}

function parsePart<S extends z.ZodType>(
  schema: S,
  json: unknown,
  source: string,
  prefix: string,
): z.infer<S> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new VigorlError("input", `${source}: ${prefix}${issue.path.join(".")}: ${issue.message}`, {
    hint: "this is not the config.json of a model of this family, or it is damaged",
  });
}
