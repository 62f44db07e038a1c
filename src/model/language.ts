/**
 * The language model: pre-norm layers of attention with M-RoPE, or of a gated delta net, and a SwiGLU or
 * a mixture of them, on flat rows. Where only some rows are wanted (the positions with a loss), the last
 * layer computes its output and MLP for those rows alone.
 * Legend: N flat rows, D head size, C hidden size.
 */
import { linear, rmsNorm } from "../torch/nn.ts";
import type { Tensor } from "../torch/ops.ts";
import { keptSteps, type Steps } from "../torch/steps.ts";
import { pick, type Segments } from "./attention.ts";
import { isDelta, type ExpertsConfig, type TextConfig } from "./config.ts";
import {
  deltaForward,
  deltaLayout,
  takeDeltaNet,
  type DeltaLayout,
  type DeltaNet,
} from "./delta-net.ts";
import { expertRunner, mixture, route, takeExperts, withShared, type Experts } from "./experts.ts";
import { gainOf, mlpForward, takeMlp, type Mlp, type Take } from "./layers.ts";
import { attentionForward, takeSelfAttention, type SelfAttention } from "./self-attention.ts";

export interface LanguageLayer<T = Tensor> {
  readonly inputNorm: T;
  readonly mixer: SelfAttention<T> | DeltaNet<T>;
  readonly postNorm: T;
  readonly mlp: Mlp<T> | Experts<T>;
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
  const layers = Array.from({ length: config.numLayers }, (_, i) => languageLayer(take, config, i));
  const norm = take("model.norm.weight", [config.hiddenSize]);
  const head = isTied ? embedTokens : take("lm_head.weight", [config.vocabSize, config.hiddenSize]);
  return { embedTokens, layers, norm, head };
}

function languageLayer<T>(take: Take<T>, config: TextConfig, index: number): LanguageLayer<T> {
  const { hiddenSize, intermediateSize, experts, delta } = config;
  const layer = `model.layers.${index}`;
  return {
    inputNorm: take(`${layer}.input_layernorm.weight`, [hiddenSize]),
    mixer:
      delta !== undefined && isDelta(config, index)
        ? takeDeltaNet(take, `${layer}.linear_attn`, config, delta)
        : takeSelfAttention(take, `${layer}.self_attn`, config),
    postNorm: take(`${layer}.post_attention_layernorm.weight`, [hiddenSize]),
    mlp:
      experts === undefined
        ? takeMlp(take, `${layer}.mlp`, hiddenSize, intermediateSize)
        : takeExperts(take, `${layer}.mlp`, config, experts),
  };
}

/** Attention of a layer that has it. */
export function attentionOf<T>({ mixer }: LanguageLayer<T>): SelfAttention<T> {
  if ("kernel" in mixer) throw new Error("a layer without attention");
  return mixer;
}

/** The delta net of a layer that has one. */
export function deltaOf<T>({ mixer }: LanguageLayer<T>): DeltaNet<T> | undefined {
  return "kernel" in mixer ? mixer : undefined;
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
  const { delta } = config;
  const layout = delta && deltaLayout(segments.lengths, delta, embeds.device);
  let x = embeds;
  const last = model.layers.length - 1;
  // What is added after the last layer needs all of its rows.
  const early = (deepstack?.levels.length ?? 0) <= last ? rows : undefined;
  for (const [i, layer] of model.layers.entries()) {
    // A scope a layer: what autograd does not need is free before the next layer runs.
    x = steps.run(x, (input) => {
      const picked = i === last ? early : undefined;
      const output = layerForward(layer, config, input, { factors, segments, layout }, picked);
      return withDeepstack(output, i, deepstack);
    });
  }
  return steps.run(x, (input) =>
    norm(early === rows ? input : pick(input, rows), model.norm, config),
  );
}

/** A layer's output [N, C] with what is added after it. */
export function withDeepstack(x: Tensor, layer: number, deepstack?: Deepstack): Tensor {
  const level = deepstack?.levels[layer];
  if (deepstack === undefined || level === undefined) return x;
  return x.indexAdd(0, deepstack.rows, level);
}

/** Where the rows of a batch stand, for whatever mixes them. */
interface Places {
  readonly factors: Tensor;
  readonly segments: Segments;
  readonly layout?: DeltaLayout;
}

function layerForward(
  layer: LanguageLayer,
  config: TextConfig,
  x: Tensor,
  places: Places,
  rows?: Tensor,
): Tensor {
  const mixed = mix(layer, config, norm(x, layer.inputNorm, config), places, rows);
  const attended = pick(x, rows).add(mixed);
  return attended.add(mlpOf(norm(attended, layer.postNorm, config), layer, config));
}

/** What attention or a delta net makes of normed rows [N, C]: [n, C], at `rows`. */
function mix(
  layer: LanguageLayer,
  config: TextConfig,
  x: Tensor,
  { factors, segments, layout }: Places,
  rows?: Tensor,
): Tensor {
  const net = deltaOf(layer);
  if (net === undefined)
    return attentionForward(attentionOf(layer), config, x, factors, segments, rows);
  if (config.delta === undefined || layout === undefined)
    throw new Error("a delta net that the configuration does not know");
  return pick(deltaForward(net, config, config.delta, x, layout), rows);
}

function norm(x: Tensor, weight: Tensor, config: TextConfig): Tensor {
  return rmsNorm(x, gainOf(weight, config), config.rmsNormEps);
}

/** What the MLP or the experts of a layer make of its normed rows [N, C]. */
function mlpOf(inner: Tensor, { mlp }: LanguageLayer, { experts }: TextConfig): Tensor {
  if (!("router" in mlp)) return mlpForward(inner, mlp);
  const routing = route(linear(inner, mlp.router), activeOf(experts));
  return withShared(mixture(inner, routing, expertRunner(mlp)), inner, mlp);
}

/** How many experts work on a row. */
export function activeOf(experts: ExpertsConfig | undefined): number {
  if (experts === undefined) throw new Error("a mixture that the configuration does not know");
  return experts.active;
}
