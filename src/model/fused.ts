/**
 * The language model's weights as generation wants them: copies of their own in which projections that
 * share an input are one matrix. Rows of q, k and v lie by key-value head, its G query heads first, then
 * its key, then its value, so that a step's result is a batch of small matrices as it comes. Within a
 * query or key head the two halves that rotate together are interleaved into pairs (a permutation of
 * both sides leaves their products alone): a rotation is then one complex product. In float32 on a CPU
 * the gains of the norms before a projection are folded into it, too.
 * Legend: N rows, H query heads, KV key-value heads, G = H / KV, D head size.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import { rmsNorm } from "../torch/nn.ts";
import { full, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { interleaved } from "./attention.ts";
import { biasOf, type LanguageLayer } from "./language.ts";
import type { Linear } from "./parameters.ts";
import type { Qwen25VL } from "./qwen2-5-vl.ts";

/** Matrices are [in, out]. */
export interface FusedLayer {
  /** Gain of the norm; undefined where it is folded into the projection. */
  readonly inputGain: Tensor | undefined;
  /** To KV · (G + 2) · D. */
  readonly qkv: Tensor;
  readonly qkvBias: Tensor;
  readonly o: Tensor;
  readonly postGain: Tensor | undefined;
  /** To 2 · intermediate. */
  readonly gateUp: Tensor;
  readonly down: Tensor;
}

export class FusedLanguage {
  readonly layers: readonly FusedLayer[];
  /** All copies, one after another. */
  readonly block: Tensor;
  readonly #model: Qwen25VL;
  /**
   * Norm gains are folded in, norms are made of the operators that cost least on a CPU, and all
   * weights are copies, in the order of memory in which a product of few rows reads them.
   */
  readonly #folds: boolean;
  /** √(hidden · ε), [1]: what a row's length is taken together with. */
  readonly #floor: Tensor;
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
    this.#folds = dtype === "float32" && device === "cpu";
    this.#floor = full([1], Math.sqrt(hiddenSize * text.rmsNormEps), { dtype, device }).keep();
    const width = (text.numHeads + 2 * text.numKeyValueHeads) * text.headDim;
    const inner = text.numHeads * text.headDim;
    const folded = [
      [inner, hiddenSize],
      [intermediateSize, hiddenSize],
    ];
    const shapes = model.language.layers.flatMap(() => [
      [hiddenSize, width],
      [width],
      [hiddenSize, 2 * intermediateSize],
      ...(this.#folds ? folded : []),
    ]);
    if (this.#folds) shapes.push([hiddenSize, text.vocabSize]);
    this.block = block?.keep() ?? allocateBlock(shapes, { dtype, device });
    this.#own = divideBlock(this.block, shapes);
    const own = this.#own.values();
    const next = (): Tensor => own.next().value!;
    this.layers = model.language.layers.map((layer) => ({
      inputGain: this.#folds ? undefined : layer.inputNorm,
      qkv: next(),
      qkvBias: next(),
      gateUp: next(),
      o: this.#folds ? next() : layer.o.weight.t().keep(),
      postGain: this.#folds ? undefined : layer.postNorm,
      down: this.#folds ? next() : layer.down.weight.t().keep(),
    }));
    this.#head = this.#folds ? next() : model.language.head.t().keep();
    this.refresh();
  }

  /** Takes over the model's present weights, in place. */
  refresh(): void {
    if (this.#shared) return;
    const { language } = this.#model;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => this.#fill(this.layers[i], layer));
      if (!this.#folds) return;
      scope(() => this.#head.copy_(language.head.t()).mul_(this.#gain(language.norm)));
    });
  }

  /**
   * RMS norm of rows [N, hidden]. Without a gain it gives unit rows: √hidden is folded into what
   * follows as well.
   */
  norm(x: Tensor, gain: Tensor | undefined): Tensor {
    if (gain !== undefined) return rmsNorm(x, gain, this.#model.config.text.rmsNormEps);
    return x.div(x.linalgVectorNorm(2, [-1], true).hypot(this.#floor));
  }

  /** Logits [N, V] of the last layer's output. */
  logits(x: Tensor): Tensor {
    const { norm } = this.#model.language;
    return this.norm(x, this.#folds ? undefined : norm).mm(this.#head);
  }

  /** SwiGLU on [N, hidden], added to it; `wide` is where gate and up go, made anew where absent. */
  mlp(layer: FusedLayer, x: Tensor, wide?: Tensor): Tensor {
    const inner = this.norm(x, layer.postGain);
    const both =
      wide === undefined ? inner.mm(layer.gateUp) : inner.mmOut(layer.gateUp, { out: wide });
    const [gate, up] = both.chunk(2, -1);
    return x.addmm(gate.silu_().mul_(up), layer.down);
  }

  dispose(): void {
    for (const own of this.#own) own.dispose();
    for (const { o, down } of this.layers) for (const view of [o, down]) view.dispose();
    this.#head.dispose();
    this.#floor.dispose();
    this.block.dispose();
  }

  /** A norm's gain as a factor of the rows of the matrix that follows it, [hidden, 1]. */
  #gain(gain: Tensor): Tensor {
    return gain.mul(Math.sqrt(this.#model.config.text.hiddenSize)).unsqueeze(-1);
  }

  #fill(fused: FusedLayer, layer: LanguageLayer): void {
    this.#arrange(fused.qkv.t(), layer, ({ weight }) => weight);
    this.#arrange(fused.qkvBias.unsqueeze(-1), layer, (linear) => biasOf(linear).unsqueeze(-1));
    const [gate, up] = fused.gateUp.t().chunk(2, 0);
    gate.copy_(layer.gate.weight);
    up.copy_(layer.up.weight);
    if (!this.#folds) return;
    fused.o.copy_(layer.o.weight.t());
    fused.down.copy_(layer.down.weight.t());
    fused.qkv.mul_(this.#gain(layer.inputNorm));
    fused.gateUp.mul_(this.#gain(layer.postNorm));
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
