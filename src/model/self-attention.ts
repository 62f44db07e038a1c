/**
 * Attention of a language layer: grouped queries, perhaps with biases, normed heads, only a part of each
 * head rotated, and gates on what it gives, as the configuration says.
 * Legend: N flat rows, H query heads, KV key-value heads, D head size, R rotating numbers of a head, C
 * hidden size.
 */
import { rmsNorm } from "../torch/nn.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { attendSegments, interleaved, pick, type Segments } from "./attention.ts";
import type { TextConfig } from "./config.ts";
import { gainOf, project, projectJoined, takeLinear, type Linear, type Take } from "./layers.ts";

export interface SelfAttention<T = Tensor> {
  /** Where outputs are gated, by head a query's rows and then its gate's: [H · 2 D, C]. */
  readonly q: Linear<T>;
  readonly k: Linear<T>;
  readonly v: Linear<T>;
  readonly o: Linear<T>;
  /** Gains [D] of query and key heads, where these are normed. */
  readonly headNorms?: { readonly q: T; readonly k: T };
}

export function takeSelfAttention<T>(
  take: Take<T>,
  name: string,
  config: TextConfig,
): SelfAttention<T> {
  const { hiddenSize, headDim, attentionBias, outputGates } = config;
  const queryWidth = config.numHeads * headDim;
  const keyWidth = config.numKeyValueHeads * headDim;
  const into = (part: string, out: number) =>
    takeLinear(take, `${name}.${part}_proj`, [out, hiddenSize], attentionBias);
  const headNorm = (part: string) => take(`${name}.${part}_norm.weight`, [headDim]);
  return {
    q: into("q", outputGates ? 2 * queryWidth : queryWidth),
    k: into("k", keyWidth),
    v: into("v", keyWidth),
    o: takeLinear(take, `${name}.o_proj`, [hiddenSize, queryWidth], false),
    headNorms: config.headNorms ? { q: headNorm("q"), k: headNorm("k") } : undefined,
  };
}

/**
 * Attention on normed rows x [N, C]: [n, C] before the residual, n at `rows`.
 * @param factors complex [N, D / 2]
 */
export function attentionForward(
  layer: SelfAttention,
  config: TextConfig,
  x: Tensor,
  factors: Tensor,
  segments: Segments,
  rows?: Tensor,
): Tensor {
  const { qkv, gates } = config.outputGates
    ? gatedHeads(layer, config, x)
    : { qkv: heads(layer, config, x), gates: undefined };
  const mixed = attendSegments(qkv, factors, config, segments, true, rows);
  const gated = gates === undefined ? mixed : mixed.mul(pick(gates, rows).sigmoid());
  return project(gated, layer.o);
}

/** Queries, keys and values [N, (H + 2 KV) · D], normed where they are, as they rotate. */
function heads(layer: SelfAttention, config: TextConfig, x: Tensor): Tensor {
  const { headDim, rotaryDim: size, numHeads, numKeyValueHeads } = config;
  const paired = (numHeads + numKeyValueHeads) * headDim;
  const projected = projectJoined(x, [layer.q, layer.k, layer.v], { paired, size });
  const { headNorms } = layer;
  if (headNorms === undefined) return projected;
  const counts = [numHeads, numKeyValueHeads, numKeyValueHeads];
  const [queries, keys, values] = projected.unflatten(1, [-1, headDim]).splitWithSizes(counts, 1);
  const norm = (rows: Tensor, gain: Tensor) => headNorm(rows, interleaved(gain, size), config);
  return cat([norm(queries, headNorms.q), norm(keys, headNorms.k), values], 1).flatten(1);
}

/** As `heads`, and gates [N, H · D], of a query projection that gives both head by head. */
function gatedHeads(
  layer: SelfAttention,
  config: TextConfig,
  x: Tensor,
): { readonly qkv: Tensor; readonly gates: Tensor } {
  const { headDim, rotaryDim, numHeads, numKeyValueHeads } = config;
  const counts = [2 * numHeads, numKeyValueHeads, numKeyValueHeads];
  const [both, keys, values] = projectJoined(x, [layer.q, layer.k, layer.v])
    .unflatten(1, [-1, headDim])
    .splitWithSizes(counts, 1);
  const [queries, gates] = both.unflatten(1, [numHeads, 2]).unbind(2);
  const turned = (rows: Tensor, gain?: Tensor): Tensor =>
    (gain === undefined ? rows : headNorm(rows, gain, config))
      .unflatten(2, [-1, 2, rotaryDim / 2])
      .transpose(3, 4)
      .reshape(rows.shape);
  const { headNorms } = layer;
  return {
    qkv: cat([turned(queries, headNorms?.q), turned(keys, headNorms?.k), values], 1).flatten(1),
    gates: gates.flatten(1),
  };
}

function headNorm(rows: Tensor, gain: Tensor, config: TextConfig): Tensor {
  return rmsNorm(rows, gainOf(gain, config), config.rmsNormEps);
}
