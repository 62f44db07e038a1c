/**
 * Qwen3.5, dense, and the models after it of the same `model_type`: gated delta nets (arXiv:2412.06464)
 * in three of four layers, attention with gates on its output and a quarter of each head rotated in the
 * fourth; norms whose gains lie around zero; the tower of Qwen3-VL without deepstack. Left out: the
 * layers that predict several tokens (`mtp.`), whose weights are passed over.
 */
import { z } from "zod";
import type { DeltaConfig, VisionConfig } from "../config.ts";
import {
  count,
  fail,
  modelConfig,
  openConfig,
  readText,
  readVision,
  size,
  towerSchema,
  type ConfigFile,
  type TextTraits,
} from "./config-json.ts";
import type { Family } from "./family.ts";
import { qwen3_vl, qwen3Tied, qwen3Vision } from "./qwen3_vl.ts";

export const imageTokenId35 = 248056;

/** The language layers, dense or of experts. */
export const qwen35Text: TextTraits = {
  attentionBias: false,
  headNorms: true,
  mropeInterleaved: true,
  centredNorms: true,
  outputGates: true,
  hasDelta: true,
  defaults: {
    rmsNormEps: 1e-6,
    ropeTheta: 1e4,
    mropeSection: [11, 11, 10],
    maxPositions: 32_768,
    headDim: 256,
    rotaryShare: 0.25,
  },
};

export const qwen3_5: Family = {
  ...qwen3_vl,
  modelType: "qwen3_5",
  title: "Qwen3.5",
  architecture: "Qwen3_5ForConditionalGeneration",
  readConfig(json, source) {
    const file = openConfig(json, source, imageTokenId35, ["attn_output_gate"]);
    const text = { ...readText(file, qwen35Text), delta: readDelta(file) };
    return modelConfig(file, text, qwen35Vision(file), qwen3Tied(file));
  },
  passesOver: (name) => name.startsWith("mtp."),
  dialect: "qwen-xml",
};

const deltaSchema = z.object({
  num_hidden_layers: count,
  layer_types: z.array(z.string()).nullish(),
  full_attention_interval: count.default(4),
  linear_conv_kernel_dim: z.int().min(2).max(64).default(4),
  linear_key_head_dim: size.default(128),
  linear_value_head_dim: size.default(128),
  linear_num_key_heads: size.default(16),
  linear_num_value_heads: size.default(32),
  attn_output_gate: z.boolean().default(true),
});

/** Which layers have delta nets, and their sizes. */
export function readDelta(file: ConfigFile): DeltaConfig {
  const read = file.readText(deltaSchema);
  const { source } = file;
  const { num_hidden_layers: numLayers, full_attention_interval: interval } = read;
  const [numKeyHeads, numValueHeads] = [read.linear_num_key_heads, read.linear_num_value_heads];
  if (!read.attn_output_gate) {
    const what = "attn_output_gate false is not supported";
    fail(source, what, "models of this family are published with true");
  }
  if (numValueHeads % numKeyHeads !== 0) {
    const what = `linear_num_value_heads ${numValueHeads} does not divide into linear_num_key_heads ${numKeyHeads}`;
    fail(source, what, "make it a multiple");
  }
  const types = read.layer_types ?? undefined;
  if (types !== undefined && types.length !== numLayers) {
    const what = `layer_types names ${types.length} layers, num_hidden_layers ${numLayers}`;
    fail(source, what, "name every layer");
  }
  const layers = Array.from({ length: numLayers }, (_, i) =>
    types === undefined ? (i + 1) % interval !== 0 : types[i] === "linear_attention",
  );
  if (layers.every(Boolean)) {
    const what = "no layer has attention";
    fail(source, what, "name full_attention in layer_types, or lower full_attention_interval");
  }
  return {
    layers,
    numKeyHeads,
    numValueHeads,
    keyDim: read.linear_key_head_dim,
    valueDim: read.linear_value_head_dim,
    kernel: read.linear_conv_kernel_dim,
  };
}

const deepstackSchema = towerSchema.extend({
  deepstack_visual_indexes: z.array(z.int()).max(0).default([]),
});

/** The tower of Qwen3-VL; a file that asks for deepstack contradicts the family. */
export function qwen35Vision(file: ConfigFile): VisionConfig {
  readVision(file, deepstackSchema);
  return qwen3Vision(file, []);
}
