/**
 * What adapters add to layers that share an input, as two thin products beside the wide one, for
 * generation in libtorch's operators: A of all of them one below another, and their B in a block each.
 * Merged into weights of half precision, small changes would be rounded away.
 * Legend: N rows, C inputs, R ranks of all layers together, W outputs of all layers together.
 */
import { cat, zeros, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import type { Linear } from "./layers.ts";

/** Brings what belongs to the rows of each layer, [out, any], into the order of the joined outputs. */
export type Arrange = (rowsOf: (layer: Linear) => Tensor) => Tensor;

export class SideProduct {
  readonly #layers: readonly Linear[];
  readonly #down: Tensor;
  readonly #up: Tensor;

  /**
   * Shapes of the two matrices, [C, R] and [R, W]; none where no layer has an adapter.
   * @param width W, where it is not all outputs of the layers
   */
  static shapes(layers: readonly Linear[], width?: number): number[][] {
    const rank = layers.reduce((sum, { lowRank }) => sum + (lowRank?.rank ?? 0), 0);
    if (rank === 0) return [];
    const all = layers.reduce((sum, { weight }) => sum + weight.size(0), 0);
    return [
      [layers[0].weight.size(1), rank],
      [rank, width ?? all],
    ];
  }

  /** Undefined where no layer has an adapter; `next` gives tensors of `shapes`, unfilled. */
  static over(layers: readonly Linear[], next: () => Tensor): SideProduct | undefined {
    if (SideProduct.shapes(layers).length === 0) return undefined;
    return new SideProduct(layers, next(), next());
  }

  private constructor(layers: readonly Linear[], down: Tensor, up: Tensor) {
    this.#layers = layers;
    this.#down = down;
    this.#up = up;
  }

  /** Takes over the present factors, in place; none while the adapter is off. */
  refresh(arrange: Arrange = (rowsOf) => cat(this.#layers.map(rowsOf), 0)): void {
    scope(() => {
      const { dtype, device } = this.#down;
      const [rank] = this.#up.shape;
      const starts = new Map<Linear, number>();
      let end = 0;
      for (const layer of this.#layers) {
        starts.set(layer, end);
        end += layer.lowRank?.rank ?? 0;
      }
      this.#down.zero_();
      for (const layer of this.#layers) {
        const factors = layer.lowRank?.factors ?? null;
        if (layer.lowRank === undefined || factors === null) continue;
        const own = this.#down.narrow(1, starts.get(layer)!, layer.lowRank.rank);
        own.copy_(layer.lowRank.down(factors, dtype).t());
      }
      const rows = arrange((layer) => {
        const wide = zeros([layer.weight.size(0), rank], { dtype, device });
        const factors = layer.lowRank?.factors ?? null;
        if (layer.lowRank === undefined || factors === null) return wide;
        const own = wide.narrow(1, starts.get(layer)!, layer.lowRank.rank);
        own.copy_(layer.lowRank.up(factors, dtype));
        return wide;
      });
      this.#up.copy_(rows.t());
    });
  }

  /** The two matrices. */
  get down(): Tensor {
    return this.#down;
  }
  get up(): Tensor {
    return this.#up;
  }

  /** Adds to outputs y [N, W] of rows x [N, C]. */
  add(y: Tensor, x: Tensor): Tensor {
    return y.addmm(x.mm(this.#down), this.#up);
  }

  dispose(): void {
    this.#down.dispose();
    this.#up.dispose();
  }
}
