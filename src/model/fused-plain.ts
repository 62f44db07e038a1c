/**
 * The language model's weights for libtorch's products: on any device, in any dtype. Only the projections
 * to heads are copied, whose rows come in another order; all else is read where the model has it. What
 * adapters add is worked out beside each product.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import { linear, rmsNorm, swiglu, whole } from "../torch/nn.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import type { TextConfig } from "./config.ts";
import { deltaInputs, type DeltaNet } from "./delta-net.ts";
import { everyExpert, expertRunner, mixture, route, withShared } from "./experts.ts";
import { SideProduct, type Arrange } from "./fused-side.ts";
import {
  arrangeHeads,
  gateRows,
  headsProjection,
  headsWidth,
  normHeads_,
  PIECE_LENGTH,
  type FusedLanguage,
  type HeadOrder,
} from "./fused.ts";
import { activeOf, attentionOf, deltaOf, type LanguageLayer } from "./language.ts";
import { aligned, gainOf, type Linear } from "./layers.ts";
import type { SelfAttention } from "./self-attention.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** Matrices [in, out]. */
interface PlainLayer {
  /** To heads, or to what a delta net reads. */
  readonly heads: Tensor;
  /** Of the heads, where they have one. */
  readonly bias?: Tensor;
  /** To gates on what attention gives, where there are any. */
  readonly gates?: Tensor;
  readonly output: Tensor;
  readonly mlp?: PlainMlp;
  readonly sides: Sides;
}

interface Sides {
  readonly heads?: SideProduct;
  readonly gates?: SideProduct;
  readonly output?: SideProduct;
  readonly gateUp?: SideProduct;
  readonly down?: SideProduct;
}

interface PlainMlp {
  /** One matrix where the two lie together, else both. */
  readonly gateUp: readonly Tensor[];
  readonly down: Tensor;
}

/** The linear layers of one input as one: how wide, and how its rows are put together. */
interface Shared {
  readonly layers: readonly Linear[];
  readonly width: number;
  readonly arrange: Arrange;
}

export class PlainLanguage implements FusedLanguage {
  readonly block: Tensor;
  readonly canTape = true;
  readonly pieceLength: number | null;
  readonly #model: VisionLanguageModel;
  readonly #order: HeadOrder;
  readonly #layers: readonly PlainLayer[];
  readonly #shared: readonly ReturnType<typeof sharing>[];
  readonly #head: Tensor;

  /** @param block of another one of this model, whose copies are used; taken over. Else to be filled. */
  constructor(model: VisionLanguageModel, order: HeadOrder, block?: Tensor) {
    this.#order = order;
    const { dtype, device, language } = model;
    this.pieceLength = device === "cpu" ? PIECE_LENGTH : null;
    const { text } = model.config;
    const shared = language.layers.map((layer) => sharing(layer, text, order));
    const shapes = language.layers.flatMap((layer, i) => {
      const { heads, gates } = shared[i];
      return [
        [text.hiddenSize, heads.width],
        ...(hasBias(layer, text) ? [[heads.width]] : []),
        ...(gates === undefined ? [] : [[text.hiddenSize, gates.width]]),
        ...Object.values(shared[i]).flatMap((one) => shapesOf(one)),
      ];
    });
    this.#model = model;
    this.block = block?.keep() ?? allocateBlock(shapes, { dtype, device });
    const own = divideBlock(this.block, shapes).values();
    const next = (): Tensor => own.next().value!;
    this.#shared = shared;
    this.#layers = language.layers.map((layer, i) => {
      const { mixer, mlp } = layer;
      const heads = next();
      const bias = hasBias(layer, text) ? next() : undefined;
      const gates = shared[i].gates === undefined ? undefined : next();
      const sideOf = (one: Shared | undefined): SideProduct | undefined =>
        shapesOf(one).length === 0 ? undefined : SideProduct.over(one!.layers, next);
      const sides: Sides = {
        heads: sideOf(shared[i].heads),
        gates: sideOf(shared[i].gates),
        output: sideOf(shared[i].output),
        gateUp: sideOf(shared[i].gateUp),
        down: sideOf(shared[i].down),
      };
      const output = outputOf(mixer).weight.t().keep();
      if ("router" in mlp) return { heads, bias, gates, output, sides };
      const gateUp = scope(() => {
        const joined = model.joinsGates
          ? [whole(mlp.gate.weight, 2 * text.intermediateSize)]
          : [mlp.gate.weight, mlp.up.weight];
        return joined.map((part) => part.t().keep());
      });
      const down = mlp.down.weight.t().keep();
      return { heads, bias, gates, output, sides, mlp: { gateUp, down } };
    });
    this.#head = language.head.t().keep();
  }

  refresh(): void {
    const { language, config } = this.#model;
    const weightOf = ({ weight }: Linear): Tensor => weight;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => {
          const to = this.#layers[i];
          const from = this.#shared[i];
          to.heads.t().copy_(from.heads.arrange(weightOf));
          if (to.bias !== undefined) {
            const { bias } = headsProjection(
              attentionOf(layer),
              config.text,
              weightOf,
              this.#order,
            );
            to.bias.copy_(bias!);
          }
          if (from.gates !== undefined) to.gates?.t().copy_(from.gates.arrange(weightOf));
          for (const part of ["heads", "gates", "output", "gateUp", "down"] as const)
            to.sides[part]?.refresh(from[part]!.arrange);
        });
    });
  }

  heads(layer: number, x: Tensor): Tensor {
    const { language, config } = this.#model;
    const own = attentionOf(language.layers[layer]);
    return normHeads_(this.#project(layer, x), own, config.text, this.#order);
  }

  deltaInputs(layer: number, x: Tensor): Tensor {
    return this.#project(layer, x);
  }

  gates(layer: number, x: Tensor): Tensor | undefined {
    const { gates, sides } = this.#layers[layer];
    if (gates === undefined) return undefined;
    const inner = this.#norm(x, this.#model.language.layers[layer].inputNorm);
    return aligned(beside(sides.gates, inner.mm(gates), inner), (rows) => rows.sigmoid());
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
      return x.add(withShared(sum, inner, mlp));
    }
    const { sides, mlp: own } = this.#layers[layer];
    const { gateUp, down } = own!;
    const parts = gateUp.map((part) => inner.mm(part));
    const wide = parts.length === 1 ? parts[0] : cat(parts, 1);
    const middle = swiglu(beside(sides.gateUp, wide, inner));
    return beside(sides.down, this.#addTo(x, middle, down), middle);
  }

  logits(x: Tensor): Tensor {
    return this.#norm(x, this.#model.language.norm).mm(this.#head);
  }

  dispose(): void {
    for (const { heads, bias, gates, output, mlp, sides } of this.#layers)
      for (const part of [
        heads,
        bias,
        gates,
        output,
        ...(mlp?.gateUp ?? []),
        mlp?.down,
        ...Object.values(sides),
      ])
        (part as Tensor | SideProduct | undefined)?.dispose();
    this.#head.dispose();
    this.block.dispose();
  }

  /** What a layer's mixer reads of its normed input. */
  #project(layer: number, x: Tensor): Tensor {
    const { heads, bias, sides } = this.#layers[layer];
    const inner = this.#norm(x, this.#model.language.layers[layer].inputNorm);
    const projected = bias === undefined ? inner.mm(heads) : bias.addmm(inner, heads);
    return beside(sides.heads, projected, inner);
  }

  /** A product added to what nobody reads any more: in place, where that spares a copy. */
  #addTo(x: Tensor, rows: Tensor, weight: Tensor): Tensor {
    return this.#order === "apart" ? x.addmm_(rows, weight) : x.addmm(rows, weight);
  }

  #norm(x: Tensor, gain: Tensor): Tensor {
    const { text } = this.#model.config;
    return rmsNorm(x, gainOf(gain, text), text.rmsNormEps);
  }
}

/** The linear layers of a layer by the input that they share, in the order of their outputs. */
function sharing(
  { mixer, mlp }: LanguageLayer,
  text: TextConfig,
  order: HeadOrder,
): { readonly heads: Shared } & { readonly [part in keyof Sides]: Shared | undefined } {
  const dense = "router" in mlp ? undefined : mlp;
  return {
    ...("kernel" in mixer
      ? { heads: inTurn(deltaInputs(mixer)), gates: undefined }
      : attentionSharing(mixer, text, order)),
    output: inTurn([outputOf(mixer)]),
    gateUp: dense && inTurn([dense.gate, dense.up]),
    down: dense && inTurn([dense.down]),
  };
}

function attentionSharing(
  layer: SelfAttention,
  text: TextConfig,
  order: HeadOrder,
): { readonly heads: Shared; readonly gates: Shared | undefined } {
  const { q, k, v } = layer;
  return {
    heads: {
      layers: [q, k, v],
      width: headsWidth(text),
      arrange: (rowsOf) => arrangeHeads(layer, text, rowsOf, order),
    },
    gates: text.outputGates
      ? {
          layers: [q],
          width: text.numHeads * text.headDim,
          arrange: (rowsOf) => gateRows(rowsOf(q), text),
        }
      : undefined,
  };
}

/** Layers whose outputs lie one after another. */
function inTurn(layers: readonly Linear[]): Shared {
  return {
    layers,
    width: layers.reduce((sum, { weight }) => sum + weight.size(0), 0),
    arrange: (rowsOf) => (layers.length === 1 ? rowsOf(layers[0]) : cat(layers.map(rowsOf), 0)),
  };
}

function shapesOf(shared: Shared | undefined): number[][] {
  return shared === undefined ? [] : SideProduct.shapes(shared.layers, shared.width);
}

function hasBias(layer: LanguageLayer, text: TextConfig): boolean {
  return text.attentionBias && deltaOf(layer) === undefined;
}

function outputOf(mixer: SelfAttention | DeltaNet): Linear {
  return "kernel" in mixer ? mixer.out : mixer.o;
}

function beside(side: SideProduct | undefined, y: Tensor, x: Tensor): Tensor {
  return side === undefined ? y : side.add(y, x);
}
