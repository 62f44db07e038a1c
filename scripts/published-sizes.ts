/** Published sizes by their `config.json`, as far as it says what a model holds. */
import type { ModelConfig } from "../src/model/config.ts";
import { parseModelConfig } from "../src/model/families/table.ts";
import { parameterShapes } from "../src/model/parameters.ts";

export interface Size {
  readonly name: string;
  readonly json: Record<string, unknown>;
}

const ids = { image_token_id: 151655, video_token_id: 151656, vision_start_token_id: 151652 };

/** Sizes of a language model: hidden, inner, layers, heads, key-value heads, vocabulary. */
type Text = readonly [number, number, number, number, number, number];

function text([hidden, inner, layers, heads, keyHeads, vocabulary]: Text) {
  return {
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    vocab_size: vocabulary,
    hidden_act: "silu",
    rms_norm_eps: 1e-6,
  };
}

const mrope = { rope_theta: 1e6, rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] } };

function qwen2(name: string, sizes: Text, isTied: boolean): Size {
  const vision = { depth: 32, embed_dim: 1280, hidden_size: sizes[0], mlp_ratio: 4, num_heads: 16 };
  return {
    name,
    json: {
      model_type: "qwen2_vl",
      ...ids,
      ...text(sizes),
      ...mrope,
      max_position_embeddings: 32768,
      tie_word_embeddings: isTied,
      torch_dtype: "bfloat16",
      vision_config: vision,
    },
  };
}

function qwen25(name: string, sizes: Text, isTied: boolean, inner = 3420): Size {
  const tower = { depth: 32, hidden_size: 1280, intermediate_size: inner, num_heads: 16 };
  return {
    name,
    json: {
      model_type: "qwen2_5_vl",
      ...ids,
      ...text(sizes),
      ...mrope,
      max_position_embeddings: 128000,
      tie_word_embeddings: isTied,
      torch_dtype: "bfloat16",
      vision_config: { ...tower, out_hidden_size: sizes[0] },
    },
  };
}

/** Depth, width, inner, deepstack blocks; heads where they are not 16. */
type Tower = readonly [number, number, number, readonly number[], number?];

function tower3([depth, width, inner, deepstack, heads = 16]: Tower, out: number) {
  return {
    depth,
    hidden_size: width,
    intermediate_size: inner,
    num_heads: heads,
    out_hidden_size: out,
    patch_size: 16,
    num_position_embeddings: 2304,
    deepstack_visual_indexes: deepstack,
  };
}

function qwen3(
  name: string,
  sizes: Text,
  isTied: boolean,
  tower: Tower,
  experts?: Readonly<Record<string, number>>,
): Size {
  return {
    name,
    json: {
      model_type: experts === undefined ? "qwen3_vl" : "qwen3_vl_moe",
      ...ids,
      tie_word_embeddings: isTied,
      text_config: {
        ...text(sizes),
        ...experts,
        head_dim: 128,
        max_position_embeddings: 262144,
        dtype: "bfloat16",
        rope_theta: 5e6,
        rope_scaling: {
          rope_type: "default",
          mrope_interleaved: true,
          mrope_section: [24, 20, 20],
        },
      },
      vision_config: tower3(tower, sizes[0]),
    },
  };
}

/** @param valueHeads of the delta nets, whose 16 key heads are of 128 as these are */
function qwen35(
  name: string,
  sizes: Text,
  isTied: boolean,
  valueHeads: number,
  tower: Tower,
  experts?: Readonly<Record<string, number>>,
): Size {
  return {
    name,
    json: {
      model_type: experts === undefined ? "qwen3_5" : "qwen3_5_moe",
      image_token_id: 248_056,
      video_token_id: 248_057,
      vision_start_token_id: 248_053,
      vision_end_token_id: 248_054,
      tie_word_embeddings: isTied,
      text_config: {
        ...text(sizes),
        ...experts,
        head_dim: 256,
        max_position_embeddings: 262144,
        dtype: "bfloat16",
        linear_num_key_heads: 16,
        linear_num_value_heads: valueHeads,
        rope_parameters: {
          rope_type: "default",
          rope_theta: 1e7,
          mrope_interleaved: true,
          mrope_section: [11, 11, 10],
          partial_rotary_factor: 0.25,
        },
      },
      vision_config: tower3(tower, sizes[0]),
    },
  };
}

const small = [24, 1024, 4096, [5, 11, 17]] as const;
const large = [27, 1152, 4304, [8, 16, 24]] as const;
const plain = (tower: readonly [number, number, number], heads = 16): Tower => [
  ...tower,
  [],
  heads,
];

export const sizes: readonly Size[] = [
  qwen2("Qwen2-VL-2B", [1536, 8960, 28, 12, 2, 151_936], true),
  qwen2("Qwen2-VL-7B", [3584, 18944, 28, 28, 4, 152_064], false),
  qwen2("Qwen2-VL-72B", [8192, 29568, 80, 64, 8, 152_064], false),
  qwen25("Qwen2.5-VL-3B, ViGoRL-3B", [2048, 11008, 36, 16, 2, 151_936], true),
  qwen25("Qwen2.5-VL-7B, ViGoRL-7B", [3584, 18944, 28, 28, 4, 152_064], false),
  qwen25("Qwen2.5-VL-32B", [5120, 27648, 64, 40, 8, 152_064], false, 3456),
  qwen25("Qwen2.5-VL-72B", [8192, 29568, 80, 64, 8, 152_064], false, 3456),
  qwen3("Qwen3-VL-2B", [2048, 6144, 28, 16, 8, 151_936], true, small),
  qwen3("Qwen3-VL-4B", [2560, 9728, 36, 32, 8, 151_936], true, small),
  qwen3("Qwen3-VL-8B", [4096, 12288, 36, 32, 8, 151_936], false, large),
  qwen3("Qwen3-VL-32B", [5120, 25600, 64, 64, 8, 151_936], false, large),
  qwen3("Qwen3-VL-30B-A3B", [2048, 6144, 48, 32, 4, 151_936], false, large, {
    num_experts: 128,
    num_experts_per_tok: 8,
    moe_intermediate_size: 768,
  }),
  qwen35("Qwen3.5-0.8B", [1024, 3584, 24, 8, 2, 248_320], true, 16, plain([12, 768, 3072], 12)),
  qwen35("Qwen3.5-4B", [2560, 9216, 32, 16, 4, 248_320], true, 32, plain([24, 1024, 4096])),
  qwen35("Qwen3.5-9B", [4096, 12288, 32, 16, 4, 248_320], false, 32, plain([27, 1152, 4304])),
  qwen35("Qwen3.5-27B", [5120, 17408, 64, 24, 4, 248_320], false, 48, plain([27, 1152, 4304])),
  qwen35("Qwen3.5-35B-A3B", [2048, 512, 40, 16, 2, 248_320], false, 32, plain([27, 1152, 4304]), {
    num_experts: 256,
    num_experts_per_tok: 8,
    moe_intermediate_size: 512,
    shared_expert_intermediate_size: 512,
  }),
];

export function configOf({ name, json }: Size): ModelConfig {
  return parseModelConfig(json, name);
}

export function numParametersOf(config: ModelConfig): number {
  let total = 0;
  for (const shape of parameterShapes(config).values())
    total += shape.reduce((product, length) => product * length, 1);
  return total;
}
