/**
 * The models and amounts of work of `bench -- gpu`: those of a published 3B model for a card, and small
 * ones of the same kind for any machine. What work there is in a step is counted here, from sizes alone.
 * Legend: T positions of a sequence, S sequences.
 */
import type { ModelConfig, TextConfig } from "../../src/model/config.ts";
import { parameterShapes, isVision } from "../../src/model/parameters.ts";

export interface Work {
  /** `config.json` of the model. */
  readonly model: Record<string, unknown>;
  /** Sides of pictures and of their crops, pixels. */
  readonly picturePx: number;
  readonly cropPx: number;
  /** Numbers in each side of the matrices, and in the block that is copied. */
  readonly matrix: number;
  readonly copied: number;
  readonly train: {
    readonly sequences: number;
    /** Text tokens behind each picture, and how many of them are learned. */
    readonly textTokens: number;
    readonly scoredTokens: number;
    readonly steps: number;
  };
  readonly decode: {
    readonly sequences: readonly number[];
    readonly promptTokens: number;
    readonly newTokens: number;
    /** Of the peer, which is slower. */
    readonly peerNewTokens: number;
  };
  readonly zoom: {
    readonly prompts: number;
    readonly groupSize: number;
    readonly crops: number;
    readonly tokensPerTurn: number;
    readonly promptTokens: number;
  };
  readonly maxPositions: number;
  readonly tokensPerMicroBatch: number;
}

/** Qwen2.5-VL-3B's sizes and the step of a run with zoom. */
export const fullWork: Work = {
  model: modelJson(
    { hidden: 2048, intermediate: 11008, layers: 36, heads: 16, keyHeads: 2, vocab: 151_936 },
    { depth: 32, hidden: 1280, intermediate: 3420, heads: 16, full: [7, 15, 23, 31] },
    [16, 24, 24],
  ),
  picturePx: 1008,
  cropPx: 672,
  matrix: 8192,
  copied: 2 ** 31,
  train: { sequences: 16, textTokens: 752, scoredTokens: 512, steps: 2 },
  decode: { sequences: [1, 16, 64, 256], promptTokens: 64, newTokens: 128, peerNewTokens: 32 },
  zoom: { prompts: 16, groupSize: 8, crops: 2, tokensPerTurn: 171, promptTokens: 60 },
  maxPositions: 4096,
  tokensPerMicroBatch: 8192,
};

/** The same steps in seconds on a CPU. */
export const smallWork: Work = {
  model: modelJson(
    { hidden: 64, intermediate: 96, layers: 2, heads: 4, keyHeads: 2, vocab: 512 },
    { depth: 2, hidden: 32, intermediate: 48, heads: 2, full: [1] },
    [2, 3, 3],
  ),
  picturePx: 112,
  cropPx: 56,
  matrix: 128,
  copied: 2 ** 16,
  train: { sequences: 3, textTokens: 20, scoredTokens: 8, steps: 1 },
  decode: { sequences: [1, 4], promptTokens: 8, newTokens: 8, peerNewTokens: 4 },
  zoom: { prompts: 2, groupSize: 2, crops: 2, tokensPerTurn: 5, promptTokens: 6 },
  maxPositions: 256,
  tokensPerMicroBatch: 256,
};

interface TextSizes {
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly vocab: number;
}

interface TowerSizes {
  readonly depth: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly full: readonly number[];
}

export function modelJson(
  text: TextSizes,
  tower: TowerSizes,
  mropeSection: readonly number[],
): Record<string, unknown> {
  return {
    model_type: "qwen2_5_vl",
    architectures: ["Qwen2_5_VLForConditionalGeneration"],
    dtype: "bfloat16",
    image_token_id: text.vocab - 1,
    video_token_id: text.vocab - 2,
    vision_start_token_id: text.vocab - 3,
    vision_end_token_id: text.vocab - 4,
    tie_word_embeddings: true,
    text_config: {
      model_type: "qwen2_5_vl_text",
      vocab_size: text.vocab,
      hidden_size: text.hidden,
      intermediate_size: text.intermediate,
      num_hidden_layers: text.layers,
      num_attention_heads: text.heads,
      num_key_value_heads: text.keyHeads,
      max_position_embeddings: 128_000,
      rms_norm_eps: 1e-6,
      rope_parameters: { rope_type: "default", rope_theta: 1e6, mrope_section: mropeSection },
    },
    vision_config: {
      model_type: "qwen2_5_vl",
      depth: tower.depth,
      hidden_size: tower.hidden,
      intermediate_size: tower.intermediate,
      num_heads: tower.heads,
      out_hidden_size: text.hidden,
      patch_size: 14,
      spatial_merge_size: 2,
      temporal_patch_size: 2,
      window_size: 112,
      fullatt_block_indexes: tower.full,
    },
  };
}

/** Numbers in all parameters, in those of the tower, and in the word embeddings. */
export function parameterCounts(config: ModelConfig): {
  all: number;
  tower: number;
  embeddings: number;
} {
  const counts = { all: 0, tower: 0, embeddings: 0 };
  for (const [name, shape] of parameterShapes(config)) {
    const count = shape.reduce((product, size) => product * size, 1);
    counts.all += count;
    if (isVision(name)) counts.tower += count;
    if (name === "model.embed_tokens.weight") counts.embeddings += count;
  }
  return counts;
}

/**
 * Floating-point operations that a training step needs: two a weight and position forward and four
 * backward, or two where the weights themselves are frozen (LoRA), the head at the scored positions
 * alone, causal attention at half of its square. The frozen tower's are not in it, nor an adapter's own,
 * and nothing that is computed twice.
 */
export function trainFlops(
  config: ModelConfig,
  lengths: readonly number[],
  numScored: number,
  isFrozen: boolean,
): number {
  const { all, tower, embeddings } = parameterCounts(config);
  const positions = lengths.reduce((sum, length) => sum + length, 0);
  const squares = lengths.reduce((sum, length) => sum + length ** 2, 0);
  const { numLayers, numHeads, headDim } = config.text;
  const layers = all - tower - embeddings;
  const attention = 2 * numLayers * numHeads * headDim * squares;
  const products = 2 * layers * positions + 2 * embeddings * numScored;
  return (isFrozen ? 2 : 3) * products + 3 * attention;
}

/**
 * Bytes that a decode step must read: every weight of the language model and of the head once, and the
 * keys and values of every sequence.
 */
export function decodeBytes(
  config: ModelConfig,
  { sequences, positions }: { readonly sequences: number; readonly positions: number },
  bytesPerNumber: number,
): number {
  const { all, tower } = parameterCounts(config);
  return bytesPerNumber * (all - tower + sequences * positions * keyValueNumbers(config.text));
}

function keyValueNumbers({ numLayers, numKeyValueHeads, headDim }: TextConfig): number {
  return 2 * numLayers * numKeyValueHeads * headDim;
}
