/**
 * The language model's weights in bfloat16 on a CPU, read where they lie, which may be a mapped file: no
 * copies but those of what is small. Rows of decode steps are float32 and go through products of our own,
 * which are as fast as memory is and whose bits do not depend on how many rows there are; prompts go
 * through libtorch's, piece by piece. What an adapter adds is packed, in float32. Left out: delta nets, and
 * what comes with them.
 * Legend: N rows, H query heads, KV key-value heads, G = H / KV, D head size.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import { kernels } from "../torch/kernels.ts";
import { cat, zeros, type Tensor } from "../torch/ops.ts";
import {
  packedLinear,
  packedShape,
  packWeights,
  type PackedWeights,
} from "../torch/packed-linear.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import type { TextConfig } from "./config.ts";
import { mixture, route } from "./experts.ts";
import { SideProduct, type Arrange } from "./fused-side.ts";
import { arrangeHeads, headsWidth, normHeads_, type FusedLanguage } from "./fused.ts";
import { activeOf, attentionOf, type LanguageLayer } from "./language.ts";
import { gainOf, type Linear } from "./layers.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** Rows of a prompt up to which it is faster to read the weights once than to multiply in libtorch. */
const FEW_ROWS = 16;
/** Positions of a prompt's pieces: as many as a product needs to be bound by arithmetic, not by memory. */
const PIECE_LENGTH = 256;

interface HalfLayer {
  /** float32, as all copies. */
  readonly inputNorm: Tensor;
  readonly headsBias?: Tensor;
  readonly postNorm: Tensor;
  readonly sides: Readonly<Record<Shared, PackedSide | undefined>>;
}

type Shared = keyof ReturnType<typeof sharing>;

export class HalfLanguage implements FusedLanguage {
  readonly block: Tensor;
  readonly canTape: boolean;
  readonly pieceLength = PIECE_LENGTH;
  readonly #model: VisionLanguageModel;
  readonly #layers: readonly HalfLayer[];
  readonly #norm: Tensor;
  readonly #copies: readonly Tensor[];
  /** Where an output of q, k and v stands in a row of heads, int32; and what stands there, int64. */
  readonly #places: { readonly to: Tensor; readonly from: Tensor };

  /** @param block of another one of this model, whose copies are used; taken over. Else to be filled. */
  constructor(model: VisionLanguageModel, block?: Tensor) {
    const { text } = model.config;
    const { layers } = model.language;
    const hasBias = text.attentionBias;
    const shapes = layers.flatMap((layer) => [
      [text.hiddenSize],
      ...(hasBias ? [[headsWidth(text)]] : []),
      [text.hiddenSize],
      ...Object.values(sharing(layer)).flatMap((own) => PackedSide.shapes(own)),
    ]);
    shapes.push([text.hiddenSize]);
    this.#model = model;
    this.canTape = text.experts === undefined;
    this.block = block?.keep() ?? allocateBlock(shapes, { dtype: "float32", device: "cpu" });
    this.#copies = divideBlock(this.block, shapes);
    const own = this.#copies.values();
    const next = (): Tensor => own.next().value!;
    this.#layers = layers.map((layer) => {
      const inputNorm = next();
      const headsBias = hasBias ? next() : undefined;
      const postNorm = next();
      const shared = sharing(layer);
      const sides = {
        heads: PackedSide.over(shared.heads, next),
        output: PackedSide.over(shared.output, next),
        gateUp: PackedSide.over(shared.gateUp, next),
        down: PackedSide.over(shared.down, next),
      };
      return { inputNorm, headsBias, postNorm, sides };
    });
    this.#norm = next();
    this.#places = placesOf(text);
  }

  refresh(): void {
    const { language, config } = this.#model;
    noGrad(() => {
      for (const [i, layer] of language.layers.entries())
        scope(() => {
          const to = this.#layers[i];
          const attention = attentionOf(layer);
          const { q, k, v } = attention;
          to.inputNorm.copy_(gainOf(layer.inputNorm, config.text));
          to.postNorm.copy_(gainOf(layer.postNorm, config.text));
          to.headsBias?.copy_(cat([q, k, v].map(({ bias }) => bias!)));
          to.sides.heads?.refresh((rowsOf) => arrangeHeads(attention, config.text, rowsOf));
          for (const side of [to.sides.output, to.sides.gateUp, to.sides.down]) side?.refresh();
        });
      this.#norm.copy_(gainOf(language.norm, config.text));
    });
  }

  heads(layer: number, x: Tensor, step: boolean): Tensor {
    const { inputNorm, headsBias, sides } = this.#layers[layer];
    const { language, config } = this.#model;
    const own = attentionOf(language.layers[layer]);
    const inner = this.#normed(x, inputNorm);
    const weights = [own.q.weight, own.k.weight, own.v.weight];
    const projected = this.#heads(inner, weights, headsBias, isFew(x, step));
    return normHeads_(sides.heads?.add(projected, inner) ?? projected, own, config.text);
  }

  gates(): undefined {
    return undefined;
  }

  deltaInputs(): Tensor {
    throw new Error("models with delta nets are not read in halves");
  }

  output(layer: number, mixed: Tensor, residual: Tensor, step: boolean): Tensor {
    const { weight } = attentionOf(this.#model.language.layers[layer]).o;
    const sum = residual.add(product(mixed, weight, isFew(mixed, step)));
    return this.#layers[layer].sides.output?.add(sum, mixed) ?? sum;
  }

  mlp(layer: number, x: Tensor, step: boolean): Tensor {
    const { mlp } = this.#model.language.layers[layer];
    const { postNorm, sides } = this.#layers[layer];
    const inner = this.#normed(x, postNorm);
    const few = isFew(x, step);
    if ("router" in mlp) {
      const active = activeOf(this.#model.config.text.experts);
      const routing = route(product(inner, mlp.router, few), active);
      const sum = mixture(inner, routing, (expert, rows) => {
        const [gate, up] = mlp.gateUp.select(0, expert).chunk(2, 0);
        const some = isFew(rows, step);
        return product(gated(rows, gate, up, some), mlp.down.select(0, expert), some);
      });
      return x.add(sum);
    }
    const { gate, up, down } = mlp;
    const middle =
      sides.gateUp === undefined
        ? gated(inner, gate.weight, up.weight, few)
        : kernels.swiglu(sides.gateUp.add(both(inner, gate.weight, up.weight, few), inner));
    const sum = x.add(product(middle, down.weight, few));
    return sides.down?.add(sum, middle) ?? sum;
  }

  logits(x: Tensor, step: boolean): Tensor {
    return product(this.#normed(x, this.#norm), this.#model.language.head, isFew(x, step));
  }

  dispose(): void {
    for (const own of [...this.#copies, this.#places.to, this.#places.from]) own.dispose();
    this.block.dispose();
  }

  #normed(x: Tensor, gain: Tensor): Tensor {
    return kernels.rmsNorm(x, gain, this.#model.config.text.rmsNormEps);
  }

  /** Rows of heads by key-value head, those of queries and keys as pairs. */
  #heads(x: Tensor, weights: Tensor[], bias: Tensor | undefined, few: boolean): Tensor {
    if (few) return kernels.halfLinear(x, weights, { bias, columns: this.#places.to });
    const half = x.to("bfloat16");
    const rows = cat(
      weights.map((weight) => half.mm(weight.t())),
      1,
    ).to("float32");
    return (bias === undefined ? rows : rows.add(bias)).indexSelect(1, this.#places.from);
  }
}

/** The linear layers of a layer by the input that they share, in the order of their outputs. */
function sharing(layer: LanguageLayer) {
  const { q, k, v, o } = attentionOf(layer);
  const dense = "router" in layer.mlp ? undefined : layer.mlp;
  return {
    heads: [q, k, v],
    output: [o],
    gateUp: dense === undefined ? [] : [dense.gate, dense.up],
    down: dense === undefined ? [] : [dense.down],
  };
}

/** Two thin products beside a wide one: see `SideProduct`. */
class PackedSide {
  readonly #layers: readonly Linear[];
  readonly #down: PackedWeights;
  readonly #up: PackedWeights;

  /** Of the panels; none where no layer has an adapter. */
  static shapes(layers: readonly Linear[]): number[][] {
    return SideProduct.shapes(layers).map(([depth, width]) => packedShape(width, depth));
  }

  static over(layers: readonly Linear[], next: () => Tensor): PackedSide | undefined {
    const widths = SideProduct.shapes(layers).map(([, width]) => width);
    if (widths.length === 0) return undefined;
    const [down, up] = widths.map((width) => ({ width, panels: next() }));
    return new PackedSide(layers, down, up);
  }

  private constructor(layers: readonly Linear[], down: PackedWeights, up: PackedWeights) {
    this.#layers = layers;
    this.#down = down;
    this.#up = up;
  }

  refresh(arrange?: Arrange): void {
    const shapes = SideProduct.shapes(this.#layers).values();
    const side = SideProduct.over(this.#layers, () => zeros(shapes.next().value!))!;
    side.refresh(arrange);
    packWeights(this.#down, { weight: side.down.t() });
    packWeights(this.#up, { weight: side.up.t() });
  }

  /** Adds to outputs y [N, W] of rows x [N, C]. */
  add(y: Tensor, x: Tensor): Tensor {
    return packedLinear(packedLinear(x.to("float32"), this.#down), this.#up, { residual: y });
  }
}

function isFew(x: Tensor, step: boolean): boolean {
  return step || x.size(0) <= FEW_ROWS;
}

/** Rows x, of either dtype, times weights [out, in]: float32 [N, out]. */
function product(x: Tensor, weight: Tensor, few: boolean): Tensor {
  if (few) return kernels.halfLinear(x, [weight]);
  return x.to("bfloat16").mm(weight.t()).to("float32");
}

/** Gates and ups of rows, side by side: float32 [N, 2 · out]. */
function both(x: Tensor, gate: Tensor, up: Tensor, few: boolean): Tensor {
  if (few) return kernels.halfLinear(x, [gate, up]);
  const half = x.to("bfloat16");
  return cat([half.mm(gate.t()), half.mm(up.t())], 1).to("float32");
}

/** SwiGLU of rows; of a prompt in bfloat16, which is what the next product takes. */
function gated(x: Tensor, gate: Tensor, up: Tensor, few: boolean): Tensor {
  if (few) return kernels.swiglu(both(x, gate, up, few));
  const half = x.to("bfloat16");
  return half.mm(gate.t()).silu().mul(half.mm(up.t()));
}

/** The order of `arrangeHeads`, by key-value head, as indices. */
function placesOf({ numHeads, numKeyValueHeads, headDim }: TextConfig): {
  readonly to: Tensor;
  readonly from: Tensor;
} {
  const groups = numHeads / numKeyValueHeads;
  const from: number[] = [];
  const add = (head: number, paired: boolean): void => {
    for (let d = 0; d < headDim; d++)
      from.push(head * headDim + (paired ? (d >> 1) + (d & 1) * (headDim / 2) : d));
  };
  for (let own = 0; own < numKeyValueHeads; own++) {
    for (let g = 0; g < groups; g++) add(own * groups + g, true);
    add(numHeads + own, true);
    add(numHeads + numKeyValueHeads + own, false);
  }
  const to = new Int32Array(from.length);
  for (const [place, row] of from.entries()) to[row] = place;
  return {
    to: tensor(to, { dtype: "int32" }).keep(),
    from: tensor(from, { dtype: "int64" }).keep(),
  };
}
