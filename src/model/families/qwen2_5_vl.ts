/**
 * Qwen2.5-VL (technical report, arXiv:2502.13923): a tower of RMS norms and SwiGLU that attends within
 * windows, with a few blocks over the whole image; biased q, k, v; M-RoPE with a stretch of frequencies
 * an axis. It points in pixels of the image as it sees it, and is the family of the released ViGoRL
 * models, whose tool calls it writes.
 */
import { z } from "zod";
import type { VisionConfig } from "../config.ts";
import {
  fail,
  modelConfig,
  openConfig,
  readText,
  readTower,
  readVision,
  size,
  towerSchema,
  type ConfigFile,
} from "./config-json.ts";
import { shortNames, type Family } from "./family.ts";
import { qwen2Preprocessor, qwen2Text, qwen2Tied } from "./qwen2_vl.ts";

export const qwen2_5_vl: Family = {
  modelType: "qwen2_5_vl",
  title: "Qwen2.5-VL",
  architecture: "Qwen2_5_VLForConditionalGeneration",
  processor: "Qwen2_5_VLProcessor",
  imageProcessor: "Qwen2VLImageProcessor",
  readConfig(json, source) {
    const file = openConfig(json, source);
    const text = readText(file, qwen2Text);
    return modelConfig(file, text, visionConfig(file), qwen2Tied(file));
  },
  tower: {
    gate: "gate_proj",
    up: "up_proj",
    down: "down_proj",
    mergerNorm: "ln_q",
    mergerIn: "mlp.0",
    mergerOut: "mlp.2",
  },
  publishedName: shortNames,
  preprocessor: qwen2Preprocessor,
  coordinates: "resized",
  dialect: "vigorl",
};

const visionSchema = towerSchema.extend({
  hidden_size: size,
  intermediate_size: size,
  out_hidden_size: size,
  window_size: size.default(112),
  fullatt_block_indexes: z.array(z.int().nonnegative()).default([7, 15, 23, 31]),
});

function visionConfig(file: ConfigFile): VisionConfig {
  const read = readVision(file, visionSchema);
  const { source } = file;
  const traits = { patchBias: false, norm: "rms", mlp: "swiglu", activation: "silu" } as const;
  const own = {
    hiddenSize: read.hidden_size,
    intermediateSize: read.intermediate_size,
    outHiddenSize: read.out_hidden_size,
    windowSize: read.window_size,
    fullAttentionBlocks: read.fullatt_block_indexes,
  };
  const vision = readTower(read, traits, own, qwen2Preprocessor.patchSize, source);
  if (vision.windowSize < vision.patchSize * vision.spatialMergeSize) {
    fail(
      source,
      `vision_config.window_size ${vision.windowSize} is below one merged token`,
      "make it at least patch_size × spatial_merge_size",
    );
  }
  return vision;
}
