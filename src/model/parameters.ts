/**
 * Names and shapes of every parameter. Names are those of the published checkpoints, which current
 * transformers and vLLM read and write (`visual.…`, `model.…`, `lm_head.weight`); the module paths of
 * transformers (`model.visual.…`, `model.language_model.…`) are accepted when a folder is read.
 */
import type { Tensor } from "../torch/ops.ts";
import type { ModelConfig } from "./config.ts";

export type Parameters = Map<string, Tensor>;

/** Weight and, where the published layer has one, bias of a linear layer. */
export interface Linear {
  readonly weight: Tensor;
  readonly bias?: Tensor;
}

/** The published name of a parameter, whichever of the known names it comes under. */
export function canonicalName(name: string): string {
  return name
    .replace(/^model\.visual\./, "visual.")
    .replace(/^(model\.language_model|language_model\.model)\./, "model.")
    .replace(/^language_model\.lm_head\./, "lm_head.");
}

/** Shape of every parameter of a configuration, in the order of the forward pass. */
export function parameterShapes(config: ModelConfig): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  const linear = (name: string, out: number, input: number, bias: boolean): void => {
    shapes.set(`${name}.weight`, [out, input]);
    if (bias) shapes.set(`${name}.bias`, [out]);
  };
  const { vision, text } = config;
  const patch = [vision.temporalPatchSize, vision.patchSize, vision.patchSize];
  shapes.set("visual.patch_embed.proj.weight", [vision.hiddenSize, vision.inChannels, ...patch]);
  for (let i = 0; i < vision.depth; i++) {
    const block = `visual.blocks.${i}`;
    shapes.set(`${block}.norm1.weight`, [vision.hiddenSize]);
    linear(`${block}.attn.qkv`, 3 * vision.hiddenSize, vision.hiddenSize, true);
    linear(`${block}.attn.proj`, vision.hiddenSize, vision.hiddenSize, true);
    shapes.set(`${block}.norm2.weight`, [vision.hiddenSize]);
    linear(`${block}.mlp.gate_proj`, vision.intermediateSize, vision.hiddenSize, true);
    linear(`${block}.mlp.up_proj`, vision.intermediateSize, vision.hiddenSize, true);
    linear(`${block}.mlp.down_proj`, vision.hiddenSize, vision.intermediateSize, true);
  }
  const merged = vision.hiddenSize * vision.spatialMergeSize ** 2;
  shapes.set("visual.merger.ln_q.weight", [vision.hiddenSize]);
  linear("visual.merger.mlp.0", merged, merged, true);
  linear("visual.merger.mlp.2", vision.outHiddenSize, merged, true);
  shapes.set("model.embed_tokens.weight", [text.vocabSize, text.hiddenSize]);
  const keyWidth = text.numKeyValueHeads * text.headDim;
  for (let i = 0; i < text.numLayers; i++) {
    const layer = `model.layers.${i}`;
    shapes.set(`${layer}.input_layernorm.weight`, [text.hiddenSize]);
    linear(`${layer}.self_attn.q_proj`, text.hiddenSize, text.hiddenSize, true);
    linear(`${layer}.self_attn.k_proj`, keyWidth, text.hiddenSize, true);
    linear(`${layer}.self_attn.v_proj`, keyWidth, text.hiddenSize, true);
    linear(`${layer}.self_attn.o_proj`, text.hiddenSize, text.hiddenSize, false);
    shapes.set(`${layer}.post_attention_layernorm.weight`, [text.hiddenSize]);
    linear(`${layer}.mlp.gate_proj`, text.intermediateSize, text.hiddenSize, false);
    linear(`${layer}.mlp.up_proj`, text.intermediateSize, text.hiddenSize, false);
    linear(`${layer}.mlp.down_proj`, text.hiddenSize, text.intermediateSize, false);
  }
  shapes.set("model.norm.weight", [text.hiddenSize]);
  if (!config.tieWordEmbeddings) linear("lm_head", text.vocabSize, text.hiddenSize, false);
  return shapes;
}

/** Whether a parameter belongs to the vision tower (its merger included). */
export function isVision(name: string): boolean {
  return name.startsWith("visual.");
}

/** Whether a parameter is the gain of a norm; those start at one and are not decayed. */
export function isNorm(name: string): boolean {
  return /(norm[12]?|layernorm|ln_q)\.weight$/.test(name);
}

export function getParameter(parameters: Parameters, name: string): Tensor {
  const found = parameters.get(name);
  if (found === undefined) throw new Error(`no parameter ${name}`);
  return found;
}

export function getLinear(parameters: Parameters, name: string): Linear {
  return {
    weight: getParameter(parameters, `${name}.weight`),
    bias: parameters.get(`${name}.bias`),
  };
}
