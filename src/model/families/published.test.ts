/** Configurations as they were published: what is read from them, and how large the models are. */
import { describe, expect, it } from "vitest";
import { parameterShapes } from "../parameters.ts";
import { families, parseModelConfig } from "./table.ts";

const silent = {
  image_token_id: 151655,
  vision_start_token_id: 151652,
  vision_end_token_id: 151653,
};

const qwen2 = {
  ...silent,
  model_type: "qwen2_vl",
  hidden_act: "silu",
  hidden_size: 1536,
  intermediate_size: 8960,
  max_position_embeddings: 32768,
  num_attention_heads: 12,
  num_hidden_layers: 28,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] },
  sliding_window: 32768,
  use_sliding_window: false,
  tie_word_embeddings: true,
  torch_dtype: "bfloat16",
  vocab_size: 151936,
  vision_config: { hidden_size: 1536, in_chans: 3, model_type: "qwen2_vl", spatial_patch_size: 14 },
};

const qwen3Text = {
  attention_bias: false,
  dtype: "bfloat16",
  head_dim: 128,
  hidden_act: "silu",
  hidden_size: 2560,
  intermediate_size: 9728,
  max_position_embeddings: 262144,
  num_attention_heads: 32,
  num_hidden_layers: 36,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-6,
  rope_scaling: { mrope_interleaved: true, mrope_section: [24, 20, 20], rope_type: "default" },
  rope_theta: 5e6,
  tie_word_embeddings: false,
  vocab_size: 151936,
};
const qwen3Vision = {
  deepstack_visual_indexes: [5, 11, 17],
  depth: 24,
  hidden_act: "gelu_pytorch_tanh",
  hidden_size: 1024,
  in_channels: 3,
  intermediate_size: 4096,
  num_heads: 16,
  num_position_embeddings: 2304,
  out_hidden_size: 2560,
  patch_size: 16,
  spatial_merge_size: 2,
  temporal_patch_size: 2,
};
const qwen3 = {
  ...silent,
  model_type: "qwen3_vl",
  text_config: { ...qwen3Text, model_type: "qwen3_vl_text" },
  tie_word_embeddings: true,
  vision_config: { ...qwen3Vision, model_type: "qwen3_vl" },
};
const qwen3Moe = {
  ...silent,
  model_type: "qwen3_vl_moe",
  text_config: {
    ...qwen3Text,
    decoder_sparse_step: 1,
    hidden_size: 2048,
    mlp_only_layers: [],
    moe_intermediate_size: 768,
    norm_topk_prob: true,
    num_attention_heads: 32,
    num_experts: 128,
    num_experts_per_tok: 8,
    num_hidden_layers: 48,
    num_key_value_heads: 4,
    intermediate_size: 6144,
    tie_word_embeddings: true,
  },
  tie_word_embeddings: false,
  vision_config: {
    ...qwen3Vision,
    deepstack_visual_indexes: [8, 16, 24],
    depth: 27,
    hidden_size: 1152,
    intermediate_size: 4304,
    out_hidden_size: 2048,
  },
};
const qwen35Vision = {
  ...qwen3Vision,
  deepstack_visual_indexes: [],
  depth: 12,
  hidden_size: 768,
  intermediate_size: 3072,
  num_heads: 12,
  out_hidden_size: 1024,
};
const qwen35 = {
  image_token_id: 248056,
  model_type: "qwen3_5",
  text_config: {
    attention_bias: false,
    attn_output_gate: true,
    dtype: "bfloat16",
    full_attention_interval: 4,
    head_dim: 256,
    hidden_act: "silu",
    hidden_size: 1024,
    intermediate_size: 3584,
    layer_types: Array.from({ length: 24 }, (_, i) =>
      i % 4 === 3 ? "full_attention" : "linear_attention",
    ),
    linear_conv_kernel_dim: 4,
    linear_key_head_dim: 128,
    linear_num_key_heads: 16,
    linear_num_value_heads: 16,
    linear_value_head_dim: 128,
    mamba_ssm_dtype: "float32",
    max_position_embeddings: 262144,
    mtp_num_hidden_layers: 1,
    num_attention_heads: 8,
    num_hidden_layers: 24,
    num_key_value_heads: 2,
    rms_norm_eps: 1e-6,
    rope_parameters: {
      mrope_interleaved: true,
      mrope_section: [11, 11, 10],
      partial_rotary_factor: 0.25,
      rope_theta: 1e7,
      rope_type: "default",
    },
    tie_word_embeddings: false,
    vocab_size: 248320,
  },
  tie_word_embeddings: true,
  vision_config: qwen35Vision,
};
/** As large as another model of the family. */
const qwen35Of = (text: object, vision: object, tied: boolean) => {
  const { layer_types: _, ...own } = qwen35.text_config;
  return {
    ...qwen35,
    text_config: { ...own, ...text },
    vision_config: { ...qwen35Vision, ...vision },
    tie_word_embeddings: tied,
  };
};
const qwen35Large = qwen35Of(
  {
    hidden_size: 5120,
    intermediate_size: 17408,
    linear_num_value_heads: 48,
    num_attention_heads: 24,
    num_hidden_layers: 64,
    num_key_value_heads: 4,
  },
  { depth: 27, hidden_size: 1152, intermediate_size: 4304, num_heads: 16, out_hidden_size: 5120 },
  false,
);
const qwen35Moe = {
  ...qwen35,
  model_type: "qwen3_5_moe",
  text_config: {
    ...qwen35.text_config,
    intermediate_size: undefined,
    hidden_size: 2048,
    layer_types: undefined,
    linear_num_value_heads: 32,
    moe_intermediate_size: 512,
    num_attention_heads: 16,
    num_experts: 256,
    num_experts_per_tok: 8,
    num_hidden_layers: 40,
    shared_expert_intermediate_size: 512,
  },
  tie_word_embeddings: false,
  vision_config: {
    ...qwen35Vision,
    depth: 27,
    hidden_size: 1152,
    intermediate_size: 4304,
    num_heads: 16,
    out_hidden_size: 2048,
  },
};
const qwen25 = {
  ...qwen2,
  model_type: "qwen2_5_vl",
  hidden_size: 2048,
  intermediate_size: 11008,
  num_attention_heads: 16,
  num_hidden_layers: 36,
  vision_config: {
    depth: 32,
    hidden_size: 1280,
    intermediate_size: 3420,
    num_heads: 16,
    out_hidden_size: 2048,
  },
};

describe.each([
  ["Qwen2-VL-2B", qwen2, 2_208_985_600],
  ["Qwen2.5-VL-3B", qwen25, 3_754_622_976],
  ["Qwen3-VL-4B", qwen3, 4_437_815_808],
  ["Qwen3-VL-30B-A3B", qwen3Moe, 31_070_754_032],
  ["Qwen3.5-0.8B", qwen35, 852_985_920],
  ["Qwen3.5-27B", qwen35Large, 27_356_728_560],
])("%s", (_, json, numParameters) => {
  it("has as many parameters as the published model", () => {
    const shapes = parameterShapes(parseModelConfig(json, "config.json"));
    const sizes = [...shapes.values()].map((shape) => shape.reduce((a, b) => a * b, 1));
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(numParameters);
  });
});

it("knows a published configuration of every family", () => {
  const all = [qwen2, qwen25, qwen3, qwen3Moe, qwen35, qwen35Moe];
  const types: string[] = all.map(({ model_type }) => model_type);
  expect(types).toEqual(families.map(({ modelType }) => modelType));
});

it("reads what the files say, the root alone about tied embeddings from Qwen3 on", () => {
  const dense = parseModelConfig(qwen3, "c");
  expect(dense.tieWordEmbeddings).toBe(true);
  expect(dense.storedDtype).toBe("bfloat16");
  expect(dense.text).toMatchObject({ ropeTheta: 5e6, headDim: 128, numHeads: 32 });
  expect(dense.vision).toMatchObject({ positionsSide: 48, windowSize: Infinity, patchSize: 16 });
  const experts = parseModelConfig(qwen3Moe, "c");
  expect(experts.tieWordEmbeddings).toBe(false);
  expect(experts.text.experts).toEqual({ count: 128, active: 8, intermediateSize: 768 });
  const { num_experts: num_local_experts, ...rest } = qwen3Moe.text_config;
  const saved = { ...qwen3Moe, text_config: { ...rest, num_local_experts } };
  expect(parseModelConfig(saved, "c").text.experts).toEqual(experts.text.experts);
});

it("reads which layers have delta nets, and how much of a head rotates", () => {
  const { text, imageTokenId, tieWordEmbeddings, vision } = parseModelConfig(qwen35, "c");
  expect(imageTokenId).toBe(248056);
  expect(tieWordEmbeddings).toBe(true);
  expect(vision.deepstackBlocks).toEqual([]);
  expect(text).toMatchObject({ headDim: 256, rotaryDim: 64, ropeTheta: 1e7, centredNorms: true });
  expect(text.delta).toMatchObject({ numKeyHeads: 16, numValueHeads: 16, kernel: 4 });
  expect(text.delta!.layers.flatMap((is, i) => (is ? [] : [i]))).toEqual([3, 7, 11, 15, 19, 23]);
  const experts = parseModelConfig(qwen35Moe, "c").text;
  expect(experts.delta!.layers).toHaveLength(40);
  expect(experts.experts).toEqual({
    count: 256,
    active: 8,
    intermediateSize: 512,
    sharedIntermediateSize: 512,
  });
});

it("stretches positions where the file switches YaRN on, as the model card says", () => {
  const section = { mrope_section: [16, 24, 24] };
  const rope_scaling = {
    type: "yarn",
    factor: 4,
    original_max_position_embeddings: 32768,
    ...section,
  };
  expect(parseModelConfig({ ...qwen25, rope_scaling }, "c").text.yarn).toEqual({
    factor: 4,
    originalMaxPositions: 32768,
    attentionFactor: 0.1 * Math.log(4) + 1,
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
  });
  expect(parseModelConfig(qwen25, "c").text.yarn).toBeUndefined();
});

it("keeps keys that it does not know, and those of other models where they change nothing", () => {
  const more = { residual_multiplier: 1, clip_qkv: null, made_by: "us", use_cache: true };
  const text_config = { ...qwen3Text, ...more };
  expect(parseModelConfig({ ...qwen3, text_config }, "c").raw.text_config).toMatchObject(more);
});

describe("refuses, by name", () => {
  const textOf = (change: object) => ({ ...qwen3, text_config: { ...qwen3Text, ...change } });
  const visionOf = (change: object) => ({ ...qwen3, vision_config: { ...qwen3Vision, ...change } });
  const deltaOf = (change: object) => ({
    ...qwen35,
    text_config: { ...qwen35.text_config, ...change },
  });
  const expertsOf = (change: object) => ({
    ...qwen3Moe,
    text_config: { ...qwen3Moe.text_config, ...change },
  });
  it.each([
    [textOf({ attention_bias: true }), /attention_bias true/],
    [textOf({ quantization_config: {} }), /quantization_config says/],
    [textOf({ attn_logit_softcapping: 50 }), /attn_logit_softcapping 50 is not supported/],
    [textOf({ attn_output_gate: true }), /attn_output_gate true/],
    [{ ...qwen2, residual_multiplier: 0.2 }, /residual_multiplier 0\.2/],
    [textOf({ rope_scaling: { rope_type: "dynamic", factor: 4 } }), /rotary type "dynamic"/],
    [
      textOf({ rope_scaling: { mrope_interleaved: false, mrope_section: [24, 20, 20] } }),
      /mrope_interleaved false/,
    ],
    [textOf({ rope_scaling: { partial_rotary_factor: 0.5 } }), /partial_rotary_factor 0\.5/],
    [visionOf({ hidden_act: "silu" }), /vision_config\.hidden_act "silu"/],
    [visionOf({ num_position_embeddings: 2000 }), /num_position_embeddings 2000/],
    [visionOf({ deepstack_visual_indexes: [24] }), /deepstack_visual_indexes names block 24 of 24/],
    [expertsOf({ decoder_sparse_step: 2 }), /decoder_sparse_step/],
    [expertsOf({ mlp_only_layers: [3] }), /mlp_only_layers/],
    [expertsOf({ norm_topk_prob: false }), /norm_topk_prob false/],
    [expertsOf({ num_experts_per_tok: 200 }), /num_experts_per_tok 200 of 128/],
    [{ ...qwen2, vision_config: { hidden_size: 1024 } }, /out_hidden_size 1024 differs/],
    [deltaOf({ attn_output_gate: false }), /attn_output_gate false/],
    [deltaOf({ linear_num_value_heads: 24 }), /linear_num_value_heads 24/],
    [deltaOf({ layer_types: ["full_attention"] }), /layer_types names 1 layers/],
    [deltaOf({ layer_types: Array(24).fill("linear_attention") }), /no layer has attention/],
    [deltaOf({ layer_types: Array(24).fill("chunked_attention") }), /"chunked_attention"/],
    [
      deltaOf({ rope_parameters: { mrope_section: [11, 11, 10], partial_rotary_factor: 0.3 } }),
      /partial_rotary_factor 0\.3 rotates 76 of the 256/,
    ],
    [
      { ...qwen35, vision_config: { ...qwen35Vision, deepstack_visual_indexes: [3] } },
      /deepstack_visual_indexes/,
    ],
    [deltaOf({ intermediate_size: undefined }), /intermediate_size is missing/],
  ])("case %#", (json, message) => {
    expect(() => parseModelConfig(json, "config.json")).toThrow(message);
  });
});
