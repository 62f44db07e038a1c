/**
 * Qwen3.5 with experts: Qwen3.5 with a mixture in place of every MLP, beside it one expert that works on
 * every position, scaled by a gate of its own. Published files hold the experts' matrices as one tensor a
 * layer, transformers saves one matrix an expert; both are read, and the first is written.
 */
import { z } from "zod";
import type { ExpertsConfig } from "../config.ts";
import {
  count,
  fail,
  modelConfig,
  openConfig,
  readText,
  size,
  type ConfigFile,
} from "./config-json.ts";
import type { Family } from "./family.ts";
import { imageTokenId35, qwen3_5, qwen35Text, qwen35Vision, readDelta } from "./qwen3_5.ts";
import { qwen3Tied } from "./qwen3_vl.ts";

export const qwen3_5_moe: Family = {
  ...qwen3_5,
  modelType: "qwen3_5_moe",
  title: "Qwen3.5 with experts",
  architecture: "Qwen3_5MoeForConditionalGeneration",
  readConfig(json, source) {
    const file = openConfig(json, source, imageTokenId35, ["attn_output_gate"]);
    const experts = readExperts(file);
    const defaults = { ...qwen35Text.defaults, intermediateSize: experts.intermediateSize };
    const delta = readDelta(file);
    const text = { ...readText(file, { ...qwen35Text, defaults }), delta, experts };
    return modelConfig(file, text, qwen35Vision(file), qwen3Tied(file));
  },
};

const expertsSchema = z.object({
  num_experts: count.default(256),
  num_experts_per_tok: size.default(8),
  moe_intermediate_size: size.default(512),
  shared_expert_intermediate_size: size.default(512),
});

function readExperts(file: ConfigFile): ExpertsConfig {
  const read = file.readText(expertsSchema);
  if (read.num_experts_per_tok > read.num_experts) {
    const what = `num_experts_per_tok ${read.num_experts_per_tok} of ${read.num_experts} experts`;
    fail(file.source, what, "make it at most num_experts");
  }
  return {
    count: read.num_experts,
    active: read.num_experts_per_tok,
    intermediateSize: read.moe_intermediate_size,
    sharedIntermediateSize: read.shared_expert_intermediate_size,
  };
}
