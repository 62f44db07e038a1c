import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { configToSave, patchDim } from "./config.ts";
import { parseModelConfig } from "./families/table.ts";
import { goldenFolder, goldenNames } from "./fixtures/golden.ts";

/** The layout and numbers of the published 3B checkpoint. */
const flat = {
  architectures: ["Qwen2_5_VLForConditionalGeneration"],
  attention_dropout: 0.0,
  hidden_act: "silu",
  hidden_size: 2048,
  image_token_id: 151655,
  initializer_range: 0.02,
  intermediate_size: 11008,
  max_position_embeddings: 128000,
  max_window_layers: 70,
  model_type: "qwen2_5_vl",
  num_attention_heads: 16,
  num_hidden_layers: 36,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000.0,
  sliding_window: 32768,
  tie_word_embeddings: true,
  torch_dtype: "bfloat16",
  use_sliding_window: false,
  vision_config: {
    depth: 32,
    hidden_act: "silu",
    hidden_size: 1280,
    intermediate_size: 3420,
    num_heads: 16,
    in_chans: 3,
    out_hidden_size: 2048,
    patch_size: 14,
    spatial_merge_size: 2,
    spatial_patch_size: 14,
    window_size: 112,
    fullatt_block_indexes: [7, 15, 23, 31],
    tokens_per_second: 2,
    temporal_patch_size: 2,
  },
  rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] },
  vocab_size: 151936,
};

const { vision_config, rope_scaling, rope_theta, tie_word_embeddings, torch_dtype, ...text } = flat;
const nested = {
  model_type: "qwen2_5_vl",
  image_token_id: 151655,
  dtype: torch_dtype,
  tie_word_embeddings,
  text_config: {
    ...text,
    model_type: "qwen2_5_vl_text",
    layer_types: Array.from({ length: 36 }, () => "full_attention"),
    rope_parameters: { ...rope_scaling, rope_theta, rope_type: "default" },
  },
  vision_config,
};

describe("parseModelConfig", () => {
  it("reads the published layout", () => {
    const config = parseModelConfig(flat, "config.json");
    expect(config.text).toEqual({
      vocabSize: 151936,
      hiddenSize: 2048,
      intermediateSize: 11008,
      numLayers: 36,
      numHeads: 16,
      numKeyValueHeads: 2,
      headDim: 128,
      maxPositions: 128000,
      rmsNormEps: 1e-6,
      ropeTheta: 1e6,
      mropeSection: [16, 24, 24],
      mropeInterleaved: false,
      attentionBias: true,
      headNorms: false,
      rotaryDim: 128,
      centredNorms: false,
      outputGates: false,
    });
    expect(config.vision.fullAttentionBlocks).toEqual([7, 15, 23, 31]);
    expect(patchDim(config.vision)).toBe(1176);
    expect(config.storedDtype).toBe("bfloat16");
    expect(config.tieWordEmbeddings).toBe(true);
  });

  it("reads the nested layout to the same numbers", () => {
    const { raw: _flat, ...published } = parseModelConfig(flat, "config.json");
    const { raw: _nested, ...current } = parseModelConfig(nested, "config.json");
    expect(current).toEqual(published);
  });

  it("takes a tie that only the language part states", () => {
    const { tie_word_embeddings: tie, ...root } = nested;
    const inner = { ...root, text_config: { ...root.text_config, tie_word_embeddings: tie } };
    expect(parseModelConfig(inner, "config.json").tieWordEmbeddings).toBe(true);
  });

  it.each(goldenNames)("reads what transformers saves (%s)", (name) => {
    const file = `${goldenFolder(name)}/config.json`;
    const config = parseModelConfig(JSON.parse(readFileSync(file, "utf8")), file);
    expect(config.vision.outHiddenSize).toBe(config.text.hiddenSize);
  });

  it.each([
    [{ model_type: "llava" }, /config\.json: model_type is "llava"/],
    [{ quantization_config: { quant_method: "awq" } }, /quantization_config .* quantised/],
    [{ layer_types: ["full_attention", "sliding_attention"] }, /sliding-window/],
    [{ rope_parameters: { rope_type: "llama3" } }, /rotary type "llama3"/],
    [{ attention_bias: false }, /attention_bias false is not supported/],
    [{ vision_config: { ...vision_config, in_chans: 4 } }, /in_channels 4/],
    [{ torch_dtype: "float8_e4m3fn" }, /dtype "float8_e4m3fn"/],
    [{ num_hidden_layers: 1e9 }, /num_hidden_layers/],
    [{ vocab_size: 1e12 }, /vocab_size/],
    [{ hidden_size: undefined }, /config\.json: hidden_size/],
    [{ use_sliding_window: true }, /sliding-window/],
    [{ hidden_act: "gelu" }, /hidden_act "gelu" is not supported/],
    [{ num_key_value_heads: 3 }, /16 attention heads do not divide into 3/],
    [{ rope_scaling: { type: "linear", factor: 4 } }, /rotary type "linear"/],
    [{ rope_scaling: { type: "yarn", factor: 4 } }, /original_max_position_embeddings .* missing/],
    [{ rope_scaling: { type: "mrope", mrope_section: [8, 8, 8] } }, /mrope_section \[8, 8, 8\]/],
    [{ hidden_size: 4096, num_attention_heads: 32 }, /out_hidden_size 2048 differs/],
    [{ vision_config: { ...vision_config, num_heads: 3 } }, /1280 with 3 heads/],
    [{ vision_config: { ...vision_config, window_size: 14 } }, /window_size 14/],
    [{ vision_config: { ...vision_config, depth: 0 } }, /vision_config\.depth/],
  ])("refuses %j with a message that names it", (change, message) => {
    expect(() => parseModelConfig({ ...flat, ...change }, "config.json")).toThrow(message);
  });
});

describe("configToSave", () => {
  it("keeps every key and states the dtype where the layout has it", () => {
    const published = configToSave(parseModelConfig(flat, "c"), "float32");
    expect(published).toEqual({ ...flat, torch_dtype: "float32" });
    const current = configToSave(parseModelConfig(nested, "c"), "float32");
    expect(current.dtype).toBe("float32");
    expect(current).not.toHaveProperty("torch_dtype");
  });
});
