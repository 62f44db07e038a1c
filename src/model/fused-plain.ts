/**
 * The language model's weights for libtorch's products: on any device, in any dtype. Copies are made of
 * projections that share an input alone; experts are read where the model has them.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import { linear, rmsNorm, swiglu } from "../torch/nn.ts";
import type { Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { everyExpert, expertRunner, mixture, route } from "./experts.ts";
import {
  headsProjection,
  headsWidth,
  normHeads_,
  type FusedLanguage,
  type HeadOrder,
} from "./fused.ts";
import { activeOf, type Mlp } from "./language.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** Matrices [in, out]. */
interface PlainLayer {
  readonly heads: Tensor;
  /** Of the heads, where they have one. */
  readonly bias?: Tensor;
  readonly output: Tensor;
  readonly mlp?: PlainMlp;
}

interface PlainMlp {
  readonly gateUp: Tensor;
  readonly down: Tensor;
}

export class PlainLanguage implements FusedLanguage {
  readonly block: Tensor;
  readonly canTape = true;
  readonly #model: VisionLanguageModel;
  readonly #order: HeadOrder;
  readonly #layers: readonly PlainLayer[];
  readonly #head: Tensor;

  /** @param block of another one of this model, whose copies are used; taken over. Else to be filled. */
  constructor(model: VisionLanguageModel, order: HeadOrder, block?: Tensor) {
    this.#order = order;
    const { dtype, device, language } = model;
    const { text } = model.config;
    const width = headsWidth(text);
    const shapes = language.layers.flatMap(({ mlp }) => [
      [text.hiddenSize, width],
      ...(text.attentionBias ? [[width]] : []),
      ...("router" in mlp ? [] : [[text.hiddenSize, 2 * text.intermediateSize]]),
    ]);
    this.#model = model;
    this.block = block?.keep() ?? allocateBlock(shapes, { dtype, device });
    const own = divideBlock(this.block, shapes).values();
    const next = (): Tensor => own.next().value!;
    this.#layers = language.layers.map(({ o, mlp }) => {
      const heads = next();
      const bias = text.attentionBias ? next() : undefined;
      const output = o.weight.t().keep();
      if ("router" in mlp) return { heads, bias, output };
      return { heads, bias, output, mlp: { gateUp: next(), down: mlp.down.weight.t().keep() } };
    });
    this.#head = language.head.t().keep();
  }

  refresh(): void {
    const { language, config } = this.#model;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => {
          const to = this.#layers[i];
          const { weight, bias } = headsProjection(layer, config.text, this.#order);
          to.heads.t().copy_(weight);
          if (bias !== undefined) to.bias?.copy_(bias);
          if (to.mlp === undefined) return;
          const from = layer.mlp as Mlp;
          const [gate, up] = to.mlp.gateUp.t().chunk(2, 0);
          gate.copy_(from.gate.weight);
          up.copy_(from.up.weight);
        });
    });
  }

  heads(layer: number, x: Tensor): Tensor {
    const { heads, bias } = this.#layers[layer];
    const { language, config } = this.#model;
    const own = language.layers[layer];
    const inner = this.#norm(x, own.inputNorm);
    const projected = bias === undefined ? inner.mm(heads) : bias.addmm(inner, heads);
    return normHeads_(projected, own, config.text, this.#order);
  }

  output(layer: number, mixed: Tensor, residual: Tensor): Tensor {
    return this.#addTo(residual, mixed, this.#layers[layer].output);
  }

  mlp(layer: number, x: Tensor, step: boolean): Tensor {
    const { language, config } = this.#model;
    const { postNorm, mlp } = language.layers[layer];
    const inner = this.#norm(x, postNorm);
    if ("router" in mlp) {
      const routing = route(linear(inner, mlp.router), activeOf(config.text.experts));
      const sum = step
        ? everyExpert(inner, routing, mlp)
        : mixture(inner, routing, expertRunner(mlp));
      return x.add(sum);
    }
    const { gateUp, down } = this.#layers[layer].mlp!;
    return this.#addTo(x, swiglu(inner.mm(gateUp)), down);
  }

  logits(x: Tensor): Tensor {
    return this.#norm(x, this.#model.language.norm).mm(this.#head);
  }

  dispose(): void {
    for (const { heads, bias, output, mlp } of this.#layers)
      for (const part of [heads, bias, output, mlp?.gateUp, mlp?.down]) part?.dispose();
    this.#head.dispose();
    this.block.dispose();
  }

  /** A product added to what nobody reads any more: in place, where that spares a copy. */
  #addTo(x: Tensor, rows: Tensor, weight: Tensor): Tensor {
    return this.#order === "apart" ? x.addmm_(rows, weight) : x.addmm(rows, weight);
  }

  #norm(x: Tensor, gain: Tensor): Tensor {
    return rmsNorm(x, gain, this.#model.config.text.rmsNormEps);
  }
}
