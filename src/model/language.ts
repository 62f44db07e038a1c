/**
 * The language model of Qwen2.5-VL: pre-norm layers with grouped-query attention (biased q, k, v),
 * M-RoPE and SwiGLU, on flat rows. Where only some rows are wanted (the positions with a loss), the
 * last layer computes its output and MLP for those rows alone.
 * Legend: N flat rows, H query heads, KV key-value heads, D head size.
 */
import { linear, rmsNorm, swiglu } from "../torch/nn.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { attendSegments, interleaved, pick, type Segments } from "./attention.ts";
import { scope } from "../torch/scope.ts";
import type { TextConfig } from "./config.ts";
import { getLinear, getParameter, type Linear, type Parameters } from "./parameters.ts";

export interface LanguageLayer {
  readonly inputNorm: Tensor;
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
  readonly postNorm: Tensor;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

export interface LanguageModel {
  readonly embedTokens: Tensor;
  readonly layers: readonly LanguageLayer[];
  readonly norm: Tensor;
  /** The word embeddings themselves where they are tied. */
  readonly head: Tensor;
}

export function languageModel(parameters: Parameters, config: TextConfig): LanguageModel {
  const embedTokens = getParameter(parameters, "model.embed_tokens.weight");
  return {
    embedTokens,
    layers: Array.from({ length: config.numLayers }, (_, i) => {
      const layer = `model.layers.${i}`;
      return {
        inputNorm: getParameter(parameters, `${layer}.input_layernorm.weight`),
        q: getLinear(parameters, `${layer}.self_attn.q_proj`),
        k: getLinear(parameters, `${layer}.self_attn.k_proj`),
        v: getLinear(parameters, `${layer}.self_attn.v_proj`),
        o: getLinear(parameters, `${layer}.self_attn.o_proj`),
        postNorm: getParameter(parameters, `${layer}.post_attention_layernorm.weight`),
        gate: getLinear(parameters, `${layer}.mlp.gate_proj`),
        up: getLinear(parameters, `${layer}.mlp.up_proj`),
        down: getLinear(parameters, `${layer}.mlp.down_proj`),
      };
    }),
    norm: getParameter(parameters, "model.norm.weight"),
    head: parameters.get("lm_head.weight") ?? embedTokens,
  };
}

/**
 * Runs all layers and the final norm.
 * @param embeds [N, hidden]
 * @param factors complex [N, D / 2]
 * @param rows flat rows to return, int64 [n], ascending; all where absent
 * @returns [n, hidden]
 */
export function languageForward(
  model: LanguageModel,
  config: TextConfig,
  embeds: Tensor,
  factors: Tensor,
  segments: Segments,
  rows?: Tensor,
): Tensor {
  let x = embeds;
  for (const [i, layer] of model.layers.entries()) {
    const last = i === model.layers.length - 1;
    const input = x;
    // A scope a layer: what autograd does not need is free before the next layer runs.
    x = scope(() => layerForward(layer, config, input, factors, segments, last ? rows : undefined));
  }
  return rmsNorm(x, model.norm, config.rmsNormEps);
}

/** The q, k and v projections of a layer as one, q and k for `rotate`: [(H + 2 KV) · D, hidden]. */
function fusedProjection({ q, k, v }: LanguageLayer, headDim: number): Linear {
  const rows = (of: (linear: Linear) => Tensor) =>
    cat([interleaved(of(q), headDim), interleaved(of(k), headDim), of(v)], 0);
  return { weight: rows(({ weight }) => weight), bias: rows(biasOf) };
}

function layerForward(
  layer: LanguageLayer,
  config: TextConfig,
  x: Tensor,
  factors: Tensor,
  segments: Segments,
  rows?: Tensor,
): Tensor {
  const { headDim, rmsNormEps } = config;
  const fused = fusedProjection(layer, headDim);
  const normed = rmsNorm(x, layer.inputNorm, rmsNormEps);
  const qkv = linear(normed, fused.weight, fused.bias);
  const mixed = attendSegments(qkv, factors, config, segments, true, rows);
  const residual = pick(x, rows);
  const attended = residual.add(linear(mixed, layer.o.weight));
  const inner = rmsNorm(attended, layer.postNorm, rmsNormEps);
  const wide = linear(inner, cat([layer.gate.weight, layer.up.weight], 0));
  return attended.add(linear(swiglu(wide), layer.down.weight));
}

/** The bias that every projection of q, k and v has. */
export function biasOf(layer: Linear): Tensor {
  if (layer.bias === undefined) throw new Error("attention projection without its bias");
  return layer.bias;
}
