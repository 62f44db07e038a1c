/**
 * The language model's weights packed for our own products, norms' gains and biases with them: a layer
 * of a decode step is four products and an attention.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import type { Tensor } from "../torch/ops.ts";
import {
  packedLinear,
  packedShape,
  packWeights,
  type PackedWeights,
} from "../torch/packed-linear.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { headsProjection, headsWidth, normHeads_, type FusedLanguage } from "./fused.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

interface PackedLayer {
  readonly heads: PackedWeights;
  readonly output: PackedWeights;
  readonly gateUp: PackedWeights;
  readonly down: PackedWeights;
}

export class PackedLanguage implements FusedLanguage {
  readonly block: Tensor;
  readonly #model: VisionLanguageModel;
  readonly #layers: readonly PackedLayer[];
  readonly #head: PackedWeights;
  readonly #panels: readonly Tensor[];
  readonly #normEps: number;

  /** @param block of another one of this model, whose copies are used; taken over. Else to be filled. */
  constructor(model: VisionLanguageModel, block?: Tensor) {
    const { text } = model.config;
    const { hiddenSize, intermediateSize } = text;
    const sizes = [
      { width: headsWidth(text), depth: hiddenSize },
      { width: hiddenSize, depth: text.numHeads * text.headDim },
      { width: intermediateSize, depth: hiddenSize, gated: true },
      { width: hiddenSize, depth: intermediateSize },
    ];
    const all = model.language.layers.flatMap(() => sizes);
    all.push({ width: text.vocabSize, depth: hiddenSize });
    const shapes = all.map(({ width, depth, gated }) => packedShape(width, depth, gated));
    this.#model = model;
    this.#normEps = text.rmsNormEps;
    const options = { dtype: model.dtype, device: model.device };
    this.block = block?.keep() ?? allocateBlock(shapes, options);
    this.#panels = divideBlock(this.block, shapes);
    const packed = all.map((size, i): PackedWeights => ({ ...size, panels: this.#panels[i] }));
    this.#layers = model.language.layers.map((_, i) => {
      const [heads, output, gateUp, down] = packed.slice(i * sizes.length);
      return { heads, output, gateUp, down };
    });
    this.#head = packed.at(-1)!;
  }

  refresh(): void {
    const { language, config } = this.#model;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => {
          const packed = this.#layers[i];
          const { weight, bias } = headsProjection(layer, config.text);
          packWeights(packed.heads, { weight: weight.mul(layer.inputNorm), bias });
          packWeights(packed.output, layer.o);
          const inner = [layer.gate, layer.up];
          packWeights(
            packed.gateUp,
            ...inner.map((linear) => ({ weight: linear.weight.mul(layer.postNorm) })),
          );
          packWeights(packed.down, layer.down);
        });
      scope(() => packWeights(this.#head, { weight: language.head.mul(language.norm) }));
    });
  }

  heads(layer: number, x: Tensor): Tensor {
    const { language, config } = this.#model;
    const projected = packedLinear(x, this.#layers[layer].heads, { normEps: this.#normEps });
    return normHeads_(projected, language.layers[layer], config.text);
  }

  output(layer: number, mixed: Tensor, residual: Tensor): Tensor {
    return packedLinear(mixed, this.#layers[layer].output, { residual });
  }

  mlp(layer: number, x: Tensor): Tensor {
    const { gateUp, down } = this.#layers[layer];
    const inner = packedLinear(x, gateUp, { normEps: this.#normEps });
    return packedLinear(inner, down, { residual: x });
  }

  logits(x: Tensor): Tensor {
    return packedLinear(x, this.#head, { normEps: this.#normEps });
  }

  dispose(): void {
    for (const panels of this.#panels) panels.dispose();
    this.block.dispose();
  }
}
