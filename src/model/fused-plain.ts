/**
 * The language model's weights for libtorch's products: on any device, in any dtype. Only the projections
 * to heads are copied, whose rows come in another order; all else is read where the model has it. What
 * adapters add is worked out beside each product.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import { linear, rmsNorm, swiglu, whole } from "../torch/nn.ts";
import type { Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { everyExpert, expertRunner, mixture, route } from "./experts.ts";
import { SideProduct } from "./fused-side.ts";
import {
  arrangeHeads,
  headsProjection,
  headsWidth,
  normHeads_,
  type FusedLanguage,
  type HeadOrder,
} from "./fused.ts";
import { activeOf, type LanguageLayer } from "./language.ts";
import type { Linear } from "./layers.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** Matrices [in, out]. */
interface PlainLayer {
  readonly heads: Tensor;
  /** Of the heads, where they have one. */
  readonly bias?: Tensor;
  readonly output: Tensor;
  readonly mlp?: PlainMlp;
  readonly sides: Sides;
}

interface Sides {
  readonly heads?: SideProduct;
  readonly output?: SideProduct;
  readonly gateUp?: SideProduct;
  readonly down?: SideProduct;
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
    const shapes = language.layers.flatMap((layer) => [
      [text.hiddenSize, width],
      ...(text.attentionBias ? [[width]] : []),
      ...Object.values(sharing(layer)).flatMap((own) => SideProduct.shapes(own)),
    ]);
    this.#model = model;
    this.block = block?.keep() ?? allocateBlock(shapes, { dtype, device });
    const own = divideBlock(this.block, shapes).values();
    const next = (): Tensor => own.next().value!;
    this.#layers = language.layers.map((layer) => {
      const { o, mlp } = layer;
      const heads = next();
      const bias = text.attentionBias ? next() : undefined;
      const shared = sharing(layer);
      const sides: Sides = {
        heads: SideProduct.over(shared.heads, next),
        output: SideProduct.over(shared.output, next),
        gateUp: SideProduct.over(shared.gateUp, next),
        down: SideProduct.over(shared.down, next),
      };
      const output = o.weight.t().keep();
      if ("router" in mlp) return { heads, bias, output, sides };
      const gateUp = scope(() =>
        whole(mlp.gate.weight, 2 * text.intermediateSize)
          .t()
          .keep(),
      );
      const down = mlp.down.weight.t().keep();
      return { heads, bias, output, sides, mlp: { gateUp, down } };
    });
    this.#head = language.head.t().keep();
  }

  refresh(): void {
    const { language, config } = this.#model;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => {
          const to = this.#layers[i];
          const weightOf = ({ weight: own }: Linear) => own;
          const { weight, bias } = headsProjection(layer, config.text, weightOf, this.#order);
          to.heads.t().copy_(weight);
          if (bias !== undefined) to.bias?.copy_(bias);
          to.sides.heads?.refresh((rowsOf) =>
            arrangeHeads(layer, config.text, rowsOf, this.#order),
          );
          for (const side of [to.sides.output, to.sides.gateUp, to.sides.down]) side?.refresh();
        });
    });
  }

  heads(layer: number, x: Tensor): Tensor {
    const { heads, bias, sides } = this.#layers[layer];
    const { language, config } = this.#model;
    const own = language.layers[layer];
    const inner = this.#norm(x, own.inputNorm);
    const projected = bias === undefined ? inner.mm(heads) : bias.addmm(inner, heads);
    return normHeads_(beside(sides.heads, projected, inner), own, config.text, this.#order);
  }

  output(layer: number, mixed: Tensor, residual: Tensor): Tensor {
    const { output, sides } = this.#layers[layer];
    return beside(sides.output, this.#addTo(residual, mixed, output), mixed);
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
    const { sides, mlp: own } = this.#layers[layer];
    const { gateUp, down } = own!;
    const middle = swiglu(beside(sides.gateUp, inner.mm(gateUp), inner));
    return beside(sides.down, this.#addTo(x, middle, down), middle);
  }

  logits(x: Tensor): Tensor {
    return this.#norm(x, this.#model.language.norm).mm(this.#head);
  }

  dispose(): void {
    for (const { heads, bias, output, mlp, sides } of this.#layers)
      for (const part of [heads, bias, output, mlp?.gateUp, mlp?.down, ...Object.values(sides)])
        (part as Tensor | SideProduct | undefined)?.dispose();
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

/** The linear layers of a layer by the input that they share, in the order of their outputs. */
function sharing({ q, k, v, o, mlp }: LanguageLayer): Record<keyof Sides, readonly Linear[]> {
  const dense = "router" in mlp ? undefined : mlp;
  return {
    heads: [q, k, v],
    output: [o],
    gateUp: dense === undefined ? [] : [dense.gate, dense.up],
    down: dense === undefined ? [] : [dense.down],
  };
}

function beside(side: SideProduct | undefined, y: Tensor, x: Tensor): Tensor {
  return side === undefined ? y : side.add(y, x);
}
