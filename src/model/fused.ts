/**
 * The language model's weights as generation wants them, in three forms with one face: packed for our own
 * products, on a CPU in float32; as they lie, on a CPU in bfloat16; and matrices for libtorch's products
 * everywhere else. Projections that share an input are one. Rows of q, k and v lie by key-value head, its G query heads
 * first, then its key, then its value, so that a step's result is a batch of small matrices as it comes;
 * for a cache of rows they lie side by side: all queries, all keys, all values.
 * Within a query or key head the two halves that rotate together are interleaved into pairs (a
 * permutation of both sides leaves their products alone): a rotation is then one complex product.
 * Legend: N rows, H query heads, KV key-value heads, G = H / KV, D head size.
 */
import { cat, type Tensor } from "../torch/ops.ts";
import { interleaved } from "./attention.ts";
import type { TextConfig } from "./config.ts";
import { gainOf, type Linear } from "./layers.ts";
import { rmsNorm } from "../torch/nn.ts";
import type { SelfAttention } from "./self-attention.ts";

/** What a step computes besides attention. */
export interface FusedLanguage {
  /** All copies, one after another. */
  readonly block: Tensor;
  /** Takes over the model's present weights, in place. */
  refresh(): void;
  /**
   * Heads of the normed input of a layer with attention, [N, KV · (G + 2) · D]. Here and below, rows of a
   * `step` are the same ones every time, so that it may run from a tape, and what a row comes to does not
   * depend on the others.
   */
  heads(layer: number, x: Tensor, step: boolean): Tensor;
  /** Gates on what its attention gives, [N, H · D], between 0 and 1; undefined where there are none. */
  gates(layer: number, x: Tensor): Tensor | undefined;
  /** What the delta net of a layer reads of its normed input, [N, width of `deltaInputs`]. */
  deltaInputs(layer: number, x: Tensor): Tensor;
  /** The output projection of what a layer mixed, [N, H · D], added to `residual` [N, hidden]. */
  output(layer: number, mixed: Tensor, residual: Tensor, step: boolean): Tensor;
  /** SwiGLU, or experts, of the normed input [N, hidden], added to it. */
  mlp(layer: number, x: Tensor, step: boolean): Tensor;
  /** Whether a step runs the same operators every time, whatever its rows hold. */
  readonly canTape: boolean;
  /**
   * Positions of the pieces that prompts are to be prefilled in, so that a piece comes to the same bits
   * whatever follows it; what was decoded differs from that in rounding. Null where the bits are the
   * same however a sequence is cut, and on devices where they are not promised to be.
   */
  readonly pieceLength: number | null;
  /** Logits [N, V] of the last layer's output. */
  logits(x: Tensor, step: boolean): Tensor;
  dispose(): void;
}

/** Positions of a piece where libtorch's products of other shapes round differently. */
export const PIECE_LENGTH = 64;

/** How the heads of a row lie: by key-value head, or all queries, then all keys, then all values. */
export type HeadOrder = "grouped" | "apart";

/** Length of a row of `FusedLanguage.heads`. */
export function headsWidth({ numHeads, numKeyValueHeads, headDim }: TextConfig): number {
  return (numHeads + 2 * numKeyValueHeads) * headDim;
}

/**
 * The projections to q, k and v as one, to rows in the order of `FusedLanguage.heads`.
 * @param weightOf their matrices, with what an adapter adds or without
 */
export function headsProjection(
  layer: SelfAttention,
  config: TextConfig,
  weightOf: (linear: Linear) => Tensor,
  order: HeadOrder = "grouped",
): Linear {
  const weight = arrangeHeads(layer, config, weightOf, order);
  if (!config.attentionBias) return { weight };
  return { weight, bias: arrangeHeads(layer, config, biasOf, order).view([-1]) };
}

/** Rows of `FusedLanguage.heads` with their queries and keys normed in place, where a layer does that. */
export function normHeads_(
  heads: Tensor,
  { headNorms }: SelfAttention,
  config: TextConfig,
  order: HeadOrder = "grouped",
): Tensor {
  if (headNorms === undefined) return heads;
  const { numHeads, numKeyValueHeads, headDim, rotaryDim, rmsNormEps } = config;
  const [numQueries, numKeys] =
    order === "grouped" ? [numHeads / numKeyValueHeads, 1] : [numHeads, numKeyValueHeads];
  const all = heads.view([heads.size(0), -1, numQueries + 2 * numKeys, headDim]);
  const parts = [
    [all.narrow(2, 0, numQueries), headNorms.q],
    [all.narrow(2, numQueries, numKeys), headNorms.k],
  ] as const;
  for (const [part, gain] of parts) {
    const own = gainOf(interleaved(gain, rotaryDim), config);
    part.copy_(rmsNorm(part, part.dtype === "float32" ? own.to("float32") : own, rmsNormEps));
  }
  return heads;
}

/** A bias as a column, [out, 1]. */
function biasOf({ bias }: Linear): Tensor {
  if (bias === undefined) throw new Error("attention projection without its bias");
  return bias.unsqueeze(-1);
}

/** The rows of the query projection [H · 2 D, any] that give gates, head by head; [H · D, any]. */
export function gateRows(rows: Tensor, { numHeads, headDim }: TextConfig): Tensor {
  return rows.view([numHeads, 2, headDim, -1]).select(1, 1).flatten(0, 1);
}

/** The others: those that give queries. */
function queryRows(rows: Tensor, { numHeads, headDim, outputGates }: TextConfig): Tensor {
  return outputGates ? rows.view([numHeads, 2, headDim, -1]).select(1, 0).flatten(0, 1) : rows;
}

/** What belongs to the rows of q, k and v, [heads · D, C] each, in the order of `FusedLanguage.heads`. */
export function arrangeHeads(
  layer: SelfAttention,
  config: TextConfig,
  rowsOf: (linear: Linear) => Tensor,
  order: HeadOrder = "grouped",
): Tensor {
  return order === "grouped" ? grouped(layer, config, rowsOf) : sideBySide(layer, config, rowsOf);
}

/** The rows of q, k and v by key-value head. */
function grouped(
  layer: SelfAttention,
  config: TextConfig,
  rowsOf: (linear: Linear) => Tensor,
): Tensor {
  const { numHeads, numKeyValueHeads: heads, headDim, rotaryDim } = config;
  const turned = (rows: Tensor, count: number): Tensor =>
    interleaved(rows, rotaryDim).view([heads, count, headDim, -1]);
  const queries = turned(queryRows(rowsOf(layer.q), config), numHeads / heads);
  const values = rowsOf(layer.v).view([heads, 1, headDim, -1]);
  return cat([queries, turned(rowsOf(layer.k), 1), values], 1).flatten(0, 2);
}

/** The rows of q, k and v one after another. */
function sideBySide(
  layer: SelfAttention,
  config: TextConfig,
  rowsOf: (linear: Linear) => Tensor,
): Tensor {
  const turned = (rows: Tensor): Tensor => interleaved(rows, config.rotaryDim);
  const queries = turned(queryRows(rowsOf(layer.q), config));
  return cat([queries, turned(rowsOf(layer.k)), rowsOf(layer.v)], 0);
}

/** Rotates heads [..., D] of interleaved pairs in place by factors that broadcast to [..., D / 2]. */
export function rotate_(heads: Tensor, factors: Tensor): void {
  const half = heads.size(-1) / 2;
  const pairs = (values: Tensor): Tensor => values.unflatten(-1, [half, 2]).viewAsComplex();
  if (heads.dtype === "float32") {
    pairs(heads).mul_(factors);
    return;
  }
  const wide = heads.to("float32");
  pairs(wide).mul_(factors);
  heads.copy_(wide);
}
