/**
 * The language model's weights as generation wants them: copies of their own in which projections that
 * share an input are one matrix. Rows of q, k and v lie by key-value head, its G query heads first, then
 * its key, then its value, so that a step's result is a batch of small matrices as it comes. Within a
 * query or key head the two halves that rotate together are interleaved into pairs (a permutation of
 * both sides leaves their products alone): a rotation is then one complex product.
 * Legend: N rows, H query heads, KV key-value heads, G = H / KV, D head size.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import { hasKernelsFor } from "../torch/kernels.ts";
import { rmsNorm, swiglu } from "../torch/nn.ts";
import type { Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { interleaved } from "./attention.ts";
import { biasOf, type LanguageLayer } from "./language.ts";
import type { Linear } from "./parameters.ts";
import type { Qwen25VL } from "./qwen2-5-vl.ts";

/** Matrices are [in, out]. */
export interface FusedLayer {
  readonly inputGain: Tensor;
  /** To KV · (G + 2) · D. */
  readonly qkv: Tensor;
  readonly qkvBias: Tensor;
  readonly o: Tensor;
  readonly postGain: Tensor;
  /** To 2 · intermediate. */
  readonly gateUp: Tensor;
  readonly down: Tensor;
}

export class FusedLanguage {
  readonly layers: readonly FusedLayer[];
  /** All copies, one after another. */
  readonly block: Tensor;
  readonly #model: Qwen25VL;
  /** All weights are copies, in the order of memory in which a product of few rows reads them. */
  readonly #copies: boolean;
  readonly #head: Tensor;
  readonly #own: readonly Tensor[];
  readonly #shared: boolean;

  /**
   * @param block of another `FusedLanguage` of this model: its copies are used, and refreshing them is
   *   the other's affair; taken over
   */
  constructor(model: Qwen25VL, block?: Tensor) {
    this.#model = model;
    this.#shared = block !== undefined;
    const { dtype, device } = model;
    const { text } = model.config;
    const { hiddenSize, intermediateSize } = text;
    this.#copies = hasKernelsFor(dtype, device);
    const width = (text.numHeads + 2 * text.numKeyValueHeads) * text.headDim;
    const inner = text.numHeads * text.headDim;
    const copied = [
      [inner, hiddenSize],
      [intermediateSize, hiddenSize],
    ];
    const shapes = model.language.layers.flatMap(() => [
      [hiddenSize, width],
      [width],
      [hiddenSize, 2 * intermediateSize],
      ...(this.#copies ? copied : []),
    ]);
    if (this.#copies) shapes.push([hiddenSize, text.vocabSize]);
    this.block = block?.keep() ?? allocateBlock(shapes, { dtype, device });
    this.#own = divideBlock(this.block, shapes);
    const own = this.#own.values();
    const next = (): Tensor => own.next().value!;
    this.layers = model.language.layers.map((layer) => ({
      inputGain: layer.inputNorm,
      qkv: next(),
      qkvBias: next(),
      gateUp: next(),
      o: this.#copies ? next() : layer.o.weight.t().keep(),
      postGain: layer.postNorm,
      down: this.#copies ? next() : layer.down.weight.t().keep(),
    }));
    this.#head = this.#copies ? next() : model.language.head.t().keep();
    this.refresh();
  }

  /** Takes over the model's present weights, in place. */
  refresh(): void {
    if (this.#shared) return;
    const { language } = this.#model;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => this.#fill(this.layers[i], layer));
      if (this.#copies) scope(() => this.#head.copy_(language.head.t()));
    });
  }

  norm(x: Tensor, gain: Tensor): Tensor {
    return rmsNorm(x, gain, this.#model.config.text.rmsNormEps);
  }

  /** Logits [N, V] of the last layer's output. */
  logits(x: Tensor): Tensor {
    return this.norm(x, this.#model.language.norm).mm(this.#head);
  }

  /** SwiGLU on [N, hidden], added to it; `wide` is where gate and up go, made anew where absent. */
  mlp(layer: FusedLayer, x: Tensor, wide?: Tensor): Tensor {
    const inner = this.norm(x, layer.postGain);
    const both =
      wide === undefined ? inner.mm(layer.gateUp) : inner.mmOut(layer.gateUp, { out: wide });
    return x.addmm(swiglu(both), layer.down);
  }

  dispose(): void {
    for (const own of this.#own) own.dispose();
    for (const { o, down } of this.layers) for (const view of [o, down]) view.dispose();
    this.#head.dispose();
    this.block.dispose();
  }

  #fill(fused: FusedLayer, layer: LanguageLayer): void {
    this.#arrange(fused.qkv.t(), layer, ({ weight }) => weight);
    this.#arrange(fused.qkvBias.unsqueeze(-1), layer, (linear) => biasOf(linear).unsqueeze(-1));
    const [gate, up] = fused.gateUp.t().chunk(2, 0);
    gate.copy_(layer.gate.weight);
    up.copy_(layer.up.weight);
    if (!this.#copies) return;
    fused.o.copy_(layer.o.weight.t());
    fused.down.copy_(layer.down.weight.t());
  }

  /** Copies the rows of q, k and v, [heads · D, C] each, to their places in `to`. */
  #arrange(to: Tensor, layer: LanguageLayer, rowsOf: (linear: Linear) => Tensor): void {
    const { numHeads, numKeyValueHeads: heads, headDim } = this.#model.config.text;
    const groups = numHeads / heads;
    const rows = to.view([heads, groups + 2, headDim, -1]);
    const turned = (linear: Linear, count: number): Tensor =>
      interleaved(rowsOf(linear), headDim).view([heads, count, headDim, -1]);
    rows.narrow(1, 0, groups).copy_(turned(layer.q, groups));
    rows.narrow(1, groups, 1).copy_(turned(layer.k, 1));
    rows.select(1, groups + 1).copy_(rowsOf(layer.v).view([heads, headDim, -1]));
  }
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
