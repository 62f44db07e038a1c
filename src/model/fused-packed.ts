/**
 * The language model's weights packed for our own products, norms' gains and biases with them: a layer
 * of a decode step is four products and an attention. Experts are packed one by one; what an adapter
 * adds is packed with the rest.
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
import { effectiveWeight } from "./adapter.ts";
import { mixture, route } from "./experts.ts";
import { headsProjection, headsWidth, normHeads_, type FusedLanguage } from "./fused.ts";
import { activeOf, type LanguageLayer } from "./language.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

interface PackedLayer {
  readonly heads: PackedWeights;
  readonly output: PackedWeights;
  /** Where there are experts. */
  readonly router?: PackedWeights;
  /** One, or one an expert. */
  readonly mlps: readonly PackedMlp[];
}

interface PackedMlp {
  readonly gateUp: PackedWeights;
  readonly down: PackedWeights;
}

export class PackedLanguage implements FusedLanguage {
  readonly block: Tensor;
  readonly canTape: boolean;
  readonly #model: VisionLanguageModel;
  readonly #layers: readonly PackedLayer[];
  readonly #head: PackedWeights;
  readonly #panels: readonly Tensor[];
  readonly #normEps: number;

  /** @param block of another one of this model, whose copies are used; taken over. Else to be filled. */
  constructor(model: VisionLanguageModel, block?: Tensor) {
    const { text } = model.config;
    const { hiddenSize, experts } = text;
    const inner = experts?.intermediateSize ?? text.intermediateSize;
    const mlp = [
      { width: inner, depth: hiddenSize, gated: true },
      { width: hiddenSize, depth: inner },
    ];
    const sizes = [
      { width: headsWidth(text), depth: hiddenSize },
      { width: hiddenSize, depth: text.numHeads * text.headDim },
      ...(experts === undefined ? [] : [{ width: experts.count, depth: hiddenSize }]),
      ...Array.from({ length: experts?.count ?? 1 }, () => mlp).flat(),
    ];
    const all = model.language.layers.flatMap(() => sizes);
    all.push({ width: text.vocabSize, depth: hiddenSize });
    const shapes = all.map(({ width, depth, gated }) => packedShape(width, depth, gated));
    this.#model = model;
    this.#normEps = text.rmsNormEps;
    this.canTape = experts === undefined;
    const options = { dtype: model.dtype, device: model.device };
    this.block = block?.keep() ?? allocateBlock(shapes, options);
    this.#panels = divideBlock(this.block, shapes);
    const packed = all.map((size, i): PackedWeights => ({ ...size, panels: this.#panels[i] }));
    const next = packed.values();
    const take = (): PackedWeights => next.next().value!;
    this.#layers = model.language.layers.map(() => {
      const [heads, output] = [take(), take()];
      const router = experts === undefined ? undefined : take();
      const length = experts?.count ?? 1;
      const mlps = Array.from({ length }, () => ({ gateUp: take(), down: take() }));
      return { heads, output, router, mlps };
    });
    this.#head = take();
  }

  refresh(): void {
    const { language, config } = this.#model;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => {
          const packed = this.#layers[i];
          const { weight, bias } = headsProjection(layer, config.text, effectiveWeight);
          packWeights(packed.heads, { weight: weight.mul(layer.inputNorm), bias });
          packWeights(packed.output, { weight: effectiveWeight(layer.o) });
          if (packed.router !== undefined && "router" in layer.mlp)
            packWeights(packed.router, { weight: layer.mlp.router.mul(layer.postNorm) });
          for (const [expert, { gateUp, down }] of packed.mlps.entries())
            scope(() => {
              const from = mlpWeights(layer, expert);
              const inner = [from.gate, from.up];
              packWeights(gateUp, ...inner.map((part) => ({ weight: part.mul(layer.postNorm) })));
              packWeights(down, { weight: from.down });
            });
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
    const { router, mlps } = this.#layers[layer];
    const normEps = this.#normEps;
    if (router === undefined) {
      const [{ gateUp, down }] = mlps;
      return packedLinear(packedLinear(x, gateUp, { normEps }), down, { residual: x });
    }
    const active = activeOf(this.#model.config.text.experts);
    const routing = route(packedLinear(x, router, { normEps }), active);
    const sum = mixture(x, routing, (expert, rows) => {
      const { gateUp, down } = mlps[expert];
      return packedLinear(packedLinear(rows, gateUp, { normEps }), down);
    });
    return x.add(sum);
  }

  logits(x: Tensor): Tensor {
    return packedLinear(x, this.#head, { normEps: this.#normEps });
  }

  dispose(): void {
    for (const panels of this.#panels) panels.dispose();
    this.block.dispose();
  }
}

/** Matrices [out, in] of a layer's MLP, or of one of its experts. */
function mlpWeights(
  { mlp }: LanguageLayer,
  expert: number,
): Record<"gate" | "up" | "down", Tensor> {
  if (!("router" in mlp))
    return {
      gate: effectiveWeight(mlp.gate),
      up: effectiveWeight(mlp.up),
      down: effectiveWeight(mlp.down),
    };
  const [gate, up] = mlp.gateUp.select(0, expert).chunk(2, 0);
  return { gate, up, down: mlp.down.select(0, expert) };
}
