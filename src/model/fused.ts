/**
 * The language model's weights as generation wants them: copies of their own in which projections that
 * share an input are one matrix. Rows of q, k and v lie by key-value head, its G query heads first, then
 * its key, then its value, so that a step's result is a batch of small matrices as it comes. Within a
 * query or key head the two halves that rotate together are interleaved into pairs (a permutation of
 * both sides leaves their products alone): a rotation is then one complex product. In float32 on a CPU
 * the gains of the norms before a projection are folded into it, too.
 * Legend: N rows, H query heads, KV key-value heads, G = H / KV, D head size.
 */
import { rmsNorm } from "../torch/nn.ts";
import { empty, full, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import type { LanguageLayer } from "./language.ts";
import type { Linear } from "./parameters.ts";
import type { Qwen25VL } from "./qwen2-5-vl.ts";

export interface FusedLayer {
  /** Gain of the norm; undefined where it is folded into the projection. */
  readonly inputGain: Tensor | undefined;
  /** [hidden, KV · (G + 2) · D]; like all weights here a transposed view. */
  readonly qkv: Tensor;
  readonly qkvBias: Tensor;
  readonly o: Tensor;
  readonly postGain: Tensor | undefined;
  /** [hidden, 2 · intermediate] */
  readonly gateUp: Tensor;
  readonly down: Tensor;
}

export class FusedLanguage {
  readonly layers: readonly FusedLayer[];
  readonly #model: Qwen25VL;
  /** Norm gains are folded, and norms are made of the operators that cost least on a CPU. */
  readonly #folds: boolean;
  /** √(hidden · ε), [1]: what a row's length is taken together with. */
  readonly #floor: Tensor;
  /** Gain of the last norm, in the units of `#unit`. */
  readonly #lastGain: Tensor;
  /** Weights in their own layout, [out, hidden], by layer. */
  readonly #stored: readonly { readonly qkv: Tensor; readonly gateUp: Tensor }[];

  constructor(model: Qwen25VL) {
    this.#model = model;
    const { dtype, device } = model;
    const { text } = model.config;
    const { hiddenSize, rmsNormEps } = text;
    this.#folds = dtype === "float32" && device === "cpu";
    const options = { dtype, device };
    this.#floor = full([1], Math.sqrt(hiddenSize * rmsNormEps), options).keep();
    this.#lastGain = empty([hiddenSize], options).keep();
    const width = (text.numHeads + 2 * text.numKeyValueHeads) * text.headDim;
    this.#stored = model.language.layers.map(() => ({
      qkv: empty([width, hiddenSize], options).keep(),
      gateUp: empty([2 * text.intermediateSize, hiddenSize], options).keep(),
    }));
    this.layers = model.language.layers.map((layer, i) => ({
      inputGain: this.#folds ? undefined : layer.inputNorm,
      qkv: this.#stored[i].qkv.t().keep(),
      qkvBias: empty([width], options).keep(),
      o: layer.o.weight.t().keep(),
      postGain: this.#folds ? undefined : layer.postNorm,
      gateUp: this.#stored[i].gateUp.t().keep(),
      down: layer.down.weight.t().keep(),
    }));
    this.refresh();
  }

  /** Takes over the model's present weights, in place. */
  refresh(): void {
    noGrad(() => {
      for (const [i, layer] of this.#model.language.layers.entries())
        scope(() => this.#fill(i, layer));
      scope(() => {
        const gain = this.#model.language.norm;
        this.#lastGain.copy_(this.#folds ? gain.mul(this.#unit) : gain);
      });
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
    const normed = this.#folds
      ? this.norm(x, undefined).mul_(this.#lastGain)
      : this.norm(x, this.#lastGain);
    return this.#model.logits(normed);
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
    for (const { qkv, gateUp } of this.#stored) for (const own of [qkv, gateUp]) own.dispose();
    for (const { qkv, qkvBias, o, gateUp, down } of this.layers)
      for (const own of [qkv, qkvBias, o, gateUp, down]) own.dispose();
    this.#floor.dispose();
    this.#lastGain.dispose();
  }

  get #unit(): number {
    return Math.sqrt(this.#model.config.text.hiddenSize);
  }

  #fill(index: number, layer: LanguageLayer): void {
    const { qkv, gateUp } = this.#stored[index];
    const { hiddenSize } = this.#model.config.text;
    this.#arrange(qkv, layer, ({ weight }) => weight);
    this.#arrange(this.layers[index].qkvBias.unsqueeze(-1), layer, ({ bias }) => {
      if (bias === undefined) throw new Error("attention projection without its bias");
      return bias.unsqueeze(-1);
    });
    const [gate, up] = gateUp.chunk(2, 0);
    gate.copy_(layer.gate.weight);
    up.copy_(layer.up.weight);
    if (!this.#folds) return;
    qkv.mul_(layer.inputNorm.mul(this.#unit).view([1, hiddenSize]));
    gateUp.mul_(layer.postNorm.mul(this.#unit).view([1, hiddenSize]));
  }

  /** Copies the rows of q, k and v, [heads · D, C] each, to their places in `to`. */
  #arrange(to: Tensor, layer: LanguageLayer, rowsOf: (linear: Linear) => Tensor): void {
    const { numHeads, numKeyValueHeads: heads, headDim } = this.#model.config.text;
    const groups = numHeads / heads;
    const half = headDim / 2;
    const pairs = to.view([heads, groups + 2, half, 2, -1]);
    const halves = (linear: Linear, count: number): Tensor =>
      rowsOf(linear).view([heads, count, 2, half, -1]).transpose(2, 3);
    pairs.narrow(1, 0, groups).copy_(halves(layer.q, groups));
    pairs.narrow(1, groups, 1).copy_(halves(layer.k, 1));
    to.view([heads, groups + 2, headDim, -1])
      .select(1, groups + 1)
      .copy_(rowsOf(layer.v).view([heads, headDim, -1]));
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
