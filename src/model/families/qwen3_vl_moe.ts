/**
 * Qwen3-VL with experts (technical report, arXiv:2511.21631): Qwen3-VL with a mixture in place of every
 * MLP. Published files hold the experts' matrices the other way round than transformers saves them; both
 * are read, told apart by their shapes.
 */
import { z } from "zod";
import {
  count,
  fail,
  modelConfig,
  openConfig,
  readText,
  size,
  type ConfigFile,
} from "./config-json.ts";
import type { ExpertsConfig } from "../config.ts";
import type { Family } from "./family.ts";
import { qwen3_vl, qwen3Text, qwen3Tied, qwen3Vision } from "./qwen3_vl.ts";

export const qwen3_vl_moe: Family = {
  ...qwen3_vl,
  modelType: "qwen3_vl_moe",
  title: "Qwen3-VL with experts",
  architecture: "Qwen3VLMoeForConditionalGeneration",
  readConfig(json, source) {
    const file = openConfig(json, source);
    const { headDim: _, ...defaults } = qwen3Text.defaults;
    const text = { ...readText(file, { ...qwen3Text, defaults }), experts: readExperts(file) };
    return modelConfig(file, text, qwen3Vision(file), qwen3Tied(file));
  },
  liesTransposed: (name) => /\.mlp\.experts\.(gate_up|down)_proj$/.test(name),
};

/** `num_experts` as published; `num_local_experts` as transformers saves it. */
const expertsSchema = z.object({
  num_experts: count.optional(),
  num_local_experts: count.optional(),
  num_experts_per_tok: size.default(4),
  moe_intermediate_size: size.default(1408),
  decoder_sparse_step: z.int().default(1),
  mlp_only_layers: z.array(z.int()).nullish(),
  norm_topk_prob: z.boolean().default(true),
});

function readExperts(file: ConfigFile): ExpertsConfig {
  const read = file.readText(expertsSchema);
  const { source } = file;
  const numExperts = read.num_experts ?? read.num_local_experts ?? 60;
  if (read.decoder_sparse_step !== 1 || (read.mlp_only_layers ?? []).length > 0) {
    const what = "decoder_sparse_step or mlp_only_layers leave experts out of some layers";
    fail(source, what, "only mixtures in every layer are supported");
  }
  if (!read.norm_topk_prob) {
    const what = "norm_topk_prob false is not supported";
    fail(
      source,
      what,
      "models of this family divide the shares of the chosen experts by their sum",
    );
  }
  if (read.num_experts_per_tok > numExperts) {
    const what = `num_experts_per_tok ${read.num_experts_per_tok} of ${numExperts} experts`;
    fail(source, what, "make it at most num_experts");
  }
  return {
    count: numExperts,
    active: read.num_experts_per_tok,
    intermediateSize: read.moe_intermediate_size,
  };
}
