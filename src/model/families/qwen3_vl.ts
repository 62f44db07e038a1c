/**
 * Qwen3-VL (technical report, arXiv:2511.21631), dense: a tower of layer norms and GELU with learned
 * positions, some of whose blocks are merged too and added to the first language layers (deepstack);
 * normed query and key heads of their own size without biases; M-RoPE whose axes take turns. Patches of
 * 16 pixels. It points in thousandths of the image and calls tools in JSON.
 */
import { z } from "zod";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import type { VisionConfig } from "../config.ts";
import {
  fail,
  count,
  modelConfig,
  openConfig,
  readText,
  readTower,
  readVision,
  size,
  towerSchema,
  type ConfigFile,
  type TextTraits,
} from "./config-json.ts";
import { modulePaths, type Family } from "./family.ts";

/** The language layers of Qwen3-VL, dense or of experts. */
export const qwen3Text: TextTraits = {
  attentionBias: false,
  headNorms: true,
  mropeInterleaved: true,
  centredNorms: false,
  outputGates: false,
  hasDelta: false,
  defaults: {
    rmsNormEps: 1e-6,
    ropeTheta: 5e5,
    mropeSection: [24, 20, 20],
    maxPositions: 128_000,
    headDim: 128,
  },
};

export const qwen3Preprocessor: PreprocessorConfig = {
  patchSize: 16,
  temporalPatchSize: 2,
  mergeSize: 2,
  imageMean: [0.5, 0.5, 0.5],
  imageStd: [0.5, 0.5, 0.5],
  minPixels: 65_536,
  maxPixels: 16_777_216,
};

export const qwen3_vl: Family = {
  modelType: "qwen3_vl",
  title: "Qwen3-VL",
  architecture: "Qwen3VLForConditionalGeneration",
  processor: "Qwen3VLProcessor",
  imageProcessor: "Qwen2VLImageProcessorFast",
  readConfig(json, source) {
    const file = openConfig(json, source);
    return modelConfig(file, readText(file, qwen3Text), qwen3Vision(file), qwen3Tied(file));
  },
  tower: {
    up: "linear_fc1",
    down: "linear_fc2",
    mergerNorm: "norm",
    mergerIn: "linear_fc1",
    mergerOut: "linear_fc2",
  },
  publishedName: modulePaths,
  preprocessor: qwen3Preprocessor,
  coordinates: "relative",
  dialect: "hermes",
};

/** The root alone decides: `text_config` says the opposite in files saved by transformers 5. */
export function qwen3Tied({ root }: ConfigFile): boolean {
  return root.tie_word_embeddings === true;
}

const visionSchema = towerSchema.extend({
  depth: count.default(27),
  hidden_size: size.default(1152),
  intermediate_size: size.default(4304),
  num_heads: size.default(16),
  out_hidden_size: size.default(3584),
  num_position_embeddings: size.default(2304),
  deepstack_visual_indexes: z.array(z.int().nonnegative()).default([8, 16, 24]),
});

/** @param deepstack blocks that are merged too; as the file says where absent */
export function qwen3Vision(file: ConfigFile, deepstack?: readonly number[]): VisionConfig {
  const read = readVision(file, visionSchema);
  const deepstackBlocks = deepstack ?? read.deepstack_visual_indexes;
  const positionsSide = Math.sqrt(read.num_position_embeddings);
  const deepest = Math.max(-1, ...deepstackBlocks);
  if (!Number.isInteger(positionsSide)) {
    const what = `vision_config.num_position_embeddings ${read.num_position_embeddings} is no square`;
    fail(file.source, what, "learned positions form a square table");
  }
  if (deepest >= read.depth) {
    const what = `vision_config.deepstack_visual_indexes names block ${deepest} of ${read.depth}`;
    fail(file.source, what, "name blocks below depth");
  }
  return readTower(
    read,
    { patchBias: true, norm: "layer", mlp: "geluTanh", activation: "gelu_pytorch_tanh" },
    {
      hiddenSize: read.hidden_size,
      intermediateSize: read.intermediate_size,
      outHiddenSize: read.out_hidden_size,
      positionsSide,
      deepstackBlocks,
    },
    qwen3Preprocessor.patchSize,
    file.source,
  );
}
