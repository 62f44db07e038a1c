/**
 * The language model's weights for libtorch's products: on any device, in any dtype. Copies are made of
 * projections that share an input alone.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import { rmsNorm, swiglu } from "../torch/nn.ts";
import type { Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { headsProjection, headsWidth, normHeads_, type FusedLanguage } from "./fused.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** Matrices [in, out]. */
interface PlainLayer {
  readonly heads: Tensor;
  readonly gateUp: Tensor;
  /** Of the heads, where they have one. */
  readonly bias?: Tensor;
  readonly output: Tensor;
  readonly down: Tensor;
}

export class PlainLanguage implements FusedLanguage {
  readonly block: Tensor;
  readonly #model: VisionLanguageModel;
  readonly #layers: readonly PlainLayer[];
  readonly #head: Tensor;

  /** @param block of another one of this model, whose copies are used; taken over. Else to be filled. */
  constructor(model: VisionLanguageModel, block?: Tensor) {
    const { dtype, device, language } = model;
    const { text } = model.config;
    const width = headsWidth(text);
    const matrices = [
      [text.hiddenSize, width],
      [text.hiddenSize, 2 * text.intermediateSize],
    ];
    const shapes = language.layers.flatMap(() =>
      text.attentionBias ? [...matrices, [width]] : matrices,
    );
    this.#model = model;
    this.block = block?.keep() ?? allocateBlock(shapes, { dtype, device });
    const own = divideBlock(this.block, shapes);
    this.#layers = language.layers.map((layer, i) => {
      const count = shapes.length / language.layers.length;
      const [heads, gateUp, bias] = own.slice(count * i, count * (i + 1));
      const [output, down] = [layer.o, layer.down].map(({ weight }) => weight.t().keep());
      return { heads, gateUp, output, down, ...(bias === undefined ? {} : { bias }) };
    });
    this.#head = language.head.t().keep();
  }

  refresh(): void {
    const { language, config } = this.#model;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => {
          const to = this.#layers[i];
          const { weight, bias } = headsProjection(layer, config.text);
          to.heads.t().copy_(weight);
          if (bias !== undefined) to.bias?.copy_(bias);
          const [gate, up] = to.gateUp.t().chunk(2, 0);
          gate.copy_(layer.gate.weight);
          up.copy_(layer.up.weight);
        });
    });
  }

  heads(layer: number, x: Tensor): Tensor {
    const { heads, bias } = this.#layers[layer];
    const { language, config } = this.#model;
    const own = language.layers[layer];
    const inner = this.#norm(x, own.inputNorm);
    const projected = bias === undefined ? inner.mm(heads) : bias.addmm(inner, heads);
    return normHeads_(projected, own, config.text);
  }

  output(layer: number, mixed: Tensor, residual: Tensor): Tensor {
    return residual.addmm(mixed, this.#layers[layer].output);
  }

  mlp(layer: number, x: Tensor): Tensor {
    const { gateUp, down } = this.#layers[layer];
    const inner = this.#norm(x, this.#model.language.layers[layer].postNorm);
    return x.addmm(swiglu(inner.mm(gateUp)), down);
  }

  logits(x: Tensor): Tensor {
    return this.#norm(x, this.#model.language.norm).mm(this.#head);
  }

  dispose(): void {
    for (const layer of this.#layers) for (const part of Object.values(layer)) part.dispose();
    this.#head.dispose();
    this.block.dispose();
  }

  #norm(x: Tensor, gain: Tensor): Tensor {
    return rmsNorm(x, gain, this.#model.config.text.rmsNormEps);
  }
}
