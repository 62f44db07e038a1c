/**
 * The files of the nano model's folder that are not weights: a Qwen2.5-VL configuration with small
 * numbers, its tokenizer, and how it wants its pixels.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../core/files.ts";
import { buildTokenizer, tokenizerConfig } from "./tokenizer.ts";
import { nanoPixelBudget, viewPx } from "./world.ts";

/** Writes every file but the weights and the model card. */
export async function writeNanoFolder(folder: string): Promise<void> {
  const { json, idOf } = buildTokenizer();
  const files: Record<string, unknown> = {
    "config.json": nanoConfig(idOf),
    "tokenizer.json": json,
    "tokenizer_config.json": tokenizerConfig(),
    "preprocessor_config.json": preprocessorConfig,
    "generation_config.json": {
      do_sample: true,
      temperature: 1,
      eos_token_id: [tokenId(idOf, "<|im_end|>"), tokenId(idOf, "<|endoftext|>")],
      pad_token_id: tokenId(idOf, "<|endoftext|>"),
    },
  };
  await mkdir(folder, { recursive: true });
  for (const [name, content] of Object.entries(files))
    await writeFileAtomic(join(folder, name), `${JSON.stringify(content, null, 1)}\n`);
}

/** `config.json`: about 1.4 million parameters, embeddings tied. */
export function nanoConfig(idOf: ReadonlyMap<string, number>): Record<string, unknown> {
  return {
    architectures: ["Qwen2_5_VLForConditionalGeneration"],
    model_type: "qwen2_5_vl",
    dtype: "bfloat16",
    tie_word_embeddings: true,
    image_token_id: tokenId(idOf, "<|image_pad|>"),
    video_token_id: tokenId(idOf, "<|video_pad|>"),
    vision_start_token_id: tokenId(idOf, "<|vision_start|>"),
    vision_end_token_id: tokenId(idOf, "<|vision_end|>"),
    text_config: {
      model_type: "qwen2_5_vl_text",
      vocab_size: Math.ceil(idOf.size / 64) * 64,
      hidden_size: 128,
      intermediate_size: 320,
      num_hidden_layers: 4,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      hidden_act: "silu",
      max_position_embeddings: 4096,
      rms_norm_eps: 1e-6,
      initializer_range: 0.02,
      rope_parameters: { rope_type: "default", rope_theta: 10000, mrope_section: [4, 6, 6] },
      use_sliding_window: false,
      sliding_window: null,
      max_window_layers: 4,
      layer_types: Array.from({ length: 4 }, () => "full_attention"),
      bos_token_id: tokenId(idOf, "<|endoftext|>"),
      eos_token_id: tokenId(idOf, "<|im_end|>"),
      pad_token_id: tokenId(idOf, "<|endoftext|>"),
    },
    vision_config: {
      model_type: "qwen2_5_vl_vision",
      depth: 3,
      hidden_size: 96,
      intermediate_size: 256,
      num_heads: 4,
      in_channels: 3,
      hidden_act: "silu",
      patch_size: 14,
      temporal_patch_size: 2,
      spatial_merge_size: 2,
      tokens_per_second: 2,
      window_size: viewPx,
      out_hidden_size: 128,
      fullatt_block_indexes: [0, 1, 2],
      initializer_range: 0.02,
    },
  };
}

const preprocessorConfig = {
  image_processor_type: "Qwen2VLImageProcessor",
  processor_class: "Qwen2_5_VLProcessor",
  patch_size: 14,
  temporal_patch_size: 2,
  merge_size: 2,
  min_pixels: nanoPixelBudget.minPixels,
  max_pixels: nanoPixelBudget.maxPixels,
  size: {
    shortest_edge: nanoPixelBudget.minPixels,
    longest_edge: nanoPixelBudget.maxPixels,
  },
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
};

function tokenId(idOf: ReadonlyMap<string, number>, token: string): number {
  const id = idOf.get(token);
  if (id === undefined) throw new Error(`the nano tokenizer has no token ${token}`);
  return id;
}
