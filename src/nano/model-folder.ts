/**
 * The files of the nano model's folder that are not weights: a configuration of a published family with
 * small numbers, its tokenizer, and how it wants its pixels.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../core/files.ts";
import { homeFamily } from "../model/families/table.ts";
import { cardFile } from "../task/model-card.ts";
import { nanoCard } from "./card.ts";
import { buildTokenizer, tokenizerConfig } from "./tokenizer.ts";
import { nanoPreprocessor, viewPx } from "./world.ts";

const { architecture, modelType, processor, imageProcessor } = homeFamily;

/** Writes every file but the weights and the model card. */
export async function writeNanoFolder(folder: string): Promise<void> {
  const { json, idOf } = buildTokenizer();
  const files: Record<string, unknown> = {
    "config.json": nanoConfig(idOf),
    "tokenizer.json": json,
    "tokenizer_config.json": tokenizerConfig(),
    "preprocessor_config.json": preprocessorConfig,
    [cardFile]: nanoCard(),
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
    architectures: [architecture],
    model_type: modelType,
    dtype: "bfloat16",
    tie_word_embeddings: true,
    image_token_id: tokenId(idOf, "<|image_pad|>"),
    video_token_id: tokenId(idOf, "<|video_pad|>"),
    vision_start_token_id: tokenId(idOf, "<|vision_start|>"),
    vision_end_token_id: tokenId(idOf, "<|vision_end|>"),
    text_config: {
      model_type: `${modelType}_text`,
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
      model_type: `${modelType}_vision`,
      depth: 3,
      hidden_size: 96,
      intermediate_size: 256,
      num_heads: 4,
      in_channels: 3,
      hidden_act: "silu",
      patch_size: nanoPreprocessor.patchSize,
      temporal_patch_size: nanoPreprocessor.temporalPatchSize,
      spatial_merge_size: nanoPreprocessor.mergeSize,
      tokens_per_second: 2,
      window_size: viewPx,
      out_hidden_size: 128,
      fullatt_block_indexes: [0, 1, 2],
      initializer_range: 0.02,
    },
  };
}

const preprocessorConfig = {
  image_processor_type: imageProcessor,
  processor_class: processor,
  patch_size: nanoPreprocessor.patchSize,
  temporal_patch_size: nanoPreprocessor.temporalPatchSize,
  merge_size: nanoPreprocessor.mergeSize,
  min_pixels: nanoPreprocessor.minPixels,
  max_pixels: nanoPreprocessor.maxPixels,
  size: {
    shortest_edge: nanoPreprocessor.minPixels,
    longest_edge: nanoPreprocessor.maxPixels,
  },
  image_mean: nanoPreprocessor.imageMean,
  image_std: nanoPreprocessor.imageStd,
};

function tokenId(idOf: ReadonlyMap<string, number>, token: string): number {
  const id = idOf.get(token);
  if (id === undefined) throw new Error(`the nano tokenizer has no token ${token}`);
  return id;
}
