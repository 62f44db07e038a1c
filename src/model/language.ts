/**
 * The language model: pre-norm layers with grouped-query attention, M-RoPE and a SwiGLU or a mixture of
 * them, on flat rows; the configuration says whether q, k and v have biases and whether heads are normed. Where only some
 * rows are wanted (the positions with a loss), the last layer computes its output and MLP for those rows
 * alone.
 * Legend: N flat rows, H query heads, KV key-value heads, D head size, C hidden size.
 */
import { linear, rmsNorm, swiglu } from "../torch/nn.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { keptSteps, type Steps } from "../torch/steps.ts";
import { attendSegments, interleaved, pick, type Segments } from "./attention.ts";
import type { ExpertsConfig, TextConfig } from "./config.ts";
import { expertRunner, mixture, route, takeExperts, type Experts } from "./experts.ts";
import { project, projectJoined, takeLinear, type Linear, type Take } from "./layers.ts";

export interface LanguageLayer<T = Tensor> {
  readonly inputNorm: T;
  readonly q: Linear<T>;
  readonly k: Linear<T>;
  readonly v: Linear<T>;
  readonly o: Linear<T>;
  /** Gains [D] of query and key heads, where these are normed. */
  readonly headNorms?: { readonly q: T; readonly k: T };
  readonly postNorm: T;
  readonly mlp: Mlp<T> | Experts<T>;
}

/** SwiGLU. */
export interface Mlp<T = Tensor> {
  readonly gate: Linear<T>;
  readonly up: Linear<T>;
  readonly down: Linear<T>;
}

export interface LanguageModel<T = Tensor> {
  readonly embedTokens: T;
  readonly layers: readonly LanguageLayer<T>[];
  readonly norm: T;
  /** The word embeddings themselves where they are tied. */
  readonly head: T;
}

/** What is added to some rows after the first layers: features of the tower's earlier blocks. */
export interface Deepstack {
  /** int64 [n], ascending. */
  readonly rows: Tensor;
  /** By layer, [n, C]. */
  readonly levels: readonly Tensor[];
}

export function languageModel<T>(
  take: Take<T>,
  config: TextConfig,
  isTied: boolean,
): LanguageModel<T> {
  const embedTokens = take("model.embed_tokens.weight", [config.vocabSize, config.hiddenSize]);
  const layers = Array.from({ length: config.numLayers }, (_, i) =>
    languageLayer(take, config, `model.layers.${i}`),
  );
  const norm = take("model.norm.weight", [config.hiddenSize]);
  const head = isTied ? embedTokens : take("lm_head.weight", [config.vocabSize, config.hiddenSize]);
  return { embedTokens, layers, norm, head };
}

function languageLayer<T>(take: Take<T>, config: TextConfig, layer: string): LanguageLayer<T> {
  const { hiddenSize, intermediateSize, headDim, attentionBias, experts } = config;
  const queryWidth = config.numHeads * headDim;
  const keyWidth = config.numKeyValueHeads * headDim;
  const attention = (name: string, out: number) =>
    takeLinear(take, `${layer}.self_attn.${name}_proj`, [out, hiddenSize], attentionBias);
  const part = (name: string, out: number, input: number) =>
    takeLinear(take, `${layer}.mlp.${name}_proj`, [out, input], false);
  const dense = (): Mlp<T> => ({
    gate: part("gate", intermediateSize, hiddenSize),
    up: part("up", intermediateSize, hiddenSize),
    down: part("down", hiddenSize, intermediateSize),
  });
  const headNorm = (name: string) => take(`${layer}.self_attn.${name}_norm.weight`, [headDim]);
  return {
    inputNorm: take(`${layer}.input_layernorm.weight`, [hiddenSize]),
    q: attention("q", queryWidth),
    k: attention("k", keyWidth),
    v: attention("v", keyWidth),
    o: takeLinear(take, `${layer}.self_attn.o_proj`, [hiddenSize, queryWidth], false),
    headNorms: config.headNorms ? { q: headNorm("q"), k: headNorm("k") } : undefined,
    postNorm: take(`${layer}.post_attention_layernorm.weight`, [hiddenSize]),
    mlp: experts === undefined ? dense() : takeExperts(take, `${layer}.mlp`, config, experts),
  };
}

/**
 * Runs all layers and the final norm.
 * @param embeds [N, C]
 * @param factors complex [N, D / 2]
 * @param rows flat rows to return, int64 [n], ascending; all where absent
 * @returns [n, C]
 */
export function languageForward(
  model: LanguageModel,
  config: TextConfig,
  embeds: Tensor,
  factors: Tensor,
  segments: Segments,
  {
    rows,
    deepstack,
    steps = keptSteps,
  }: { readonly rows?: Tensor; readonly deepstack?: Deepstack; readonly steps?: Steps } = {},
): Tensor {
  let x = embeds;
  const last = model.layers.length - 1;
  // What is added after the last layer needs all of its rows.
  const early = (deepstack?.levels.length ?? 0) <= last ? rows : undefined;
  for (const [i, layer] of model.layers.entries()) {
    // A scope a layer: what autograd does not need is free before the next layer runs.
    x = steps.run(x, (input) => {
      const picked = i === last ? early : undefined;
      const output = layerForward(layer, config, input, factors, segments, picked);
      return withDeepstack(output, i, deepstack);
    });
  }
  return steps.run(x, (input) =>
    rmsNorm(early === rows ? input : pick(input, rows), model.norm, config.rmsNormEps),
  );
}

/** A layer's output [N, C] with what is added after it. */
export function withDeepstack(x: Tensor, layer: number, deepstack?: Deepstack): Tensor {
  const level = deepstack?.levels[layer];
  if (deepstack === undefined || level === undefined) return x;
  return x.indexAdd(0, deepstack.rows, level);
}

/** Projected rows [N, (H + 2 KV) · D] with their queries and keys normed head by head. */
function withHeadNorms(
  qkv: Tensor,
  { headNorms }: LanguageLayer,
  { numHeads, numKeyValueHeads, headDim, rmsNormEps }: TextConfig,
): Tensor {
  if (headNorms === undefined) return qkv;
  const counts = [numHeads, numKeyValueHeads, numKeyValueHeads];
  const [queries, keys, values] = qkv.unflatten(1, [-1, headDim]).splitWithSizes(counts, 1);
  const norm = (heads: Tensor, gain: Tensor) =>
    rmsNorm(heads, interleaved(gain, headDim), rmsNormEps);
  return cat([norm(queries, headNorms.q), norm(keys, headNorms.k), values], 1).flatten(1);
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
  const paired = (config.numHeads + config.numKeyValueHeads) * headDim;
  const normed = rmsNorm(x, layer.inputNorm, rmsNormEps);
  const parts = [layer.q, layer.k, layer.v];
  const projected = projectJoined(normed, parts, { paired, size: headDim });
  const qkv = withHeadNorms(projected, layer, config);
  const mixed = attendSegments(qkv, factors, config, segments, true, rows);
  const residual = pick(x, rows);
  const attended = residual.add(project(mixed, layer.o));
  const inner = rmsNorm(attended, layer.postNorm, rmsNormEps);
  return attended.add(mlpForward(inner, layer, config));
}

/** What the MLP or the experts of a layer make of its normed rows [N, C]. */
function mlpForward(inner: Tensor, { mlp }: LanguageLayer, { experts }: TextConfig): Tensor {
  if (!("router" in mlp)) {
    const wide = projectJoined(inner, [mlp.gate, mlp.up]);
    return project(swiglu(wide), mlp.down);
  }
  const routing = route(linear(inner, mlp.router), activeOf(experts));
  return mixture(inner, routing, expertRunner(mlp));
}

/** How many experts work on a row. */
export function activeOf(experts: ExpertsConfig | undefined): number {
  if (experts === undefined) throw new Error("a mixture that the configuration does not know");
  return experts.active;
}
