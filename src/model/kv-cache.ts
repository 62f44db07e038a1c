/**
 * Keys and values of a fixed number of slots, one growing sequence a slot, written in place. Shapes
 * never change while slots come and go, which is what makes a row's bits independent of its neighbours.
 * Legend: S slots, KV key-value heads, P positions a slot has room for, D head size.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
import { hasKernelsFor } from "../torch/kernels.ts";
import type { Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor, type Device, type DType } from "../torch/tensor.ts";
import { VigorlError } from "../core/errors.ts";
import type { TextConfig } from "./config.ts";

/** Positions that a new cache has room for, where as many are wanted. */
const firstPositions = 63;
/**
 * A cache that grows gets this much larger. Little, because a step of decoding reads most of the cache
 * and reads fastest what lies close together; copying is rare beside it.
 */
const growth = 1.25;

type Part = "keys" | "values";

/** Keys and values of one layer, [S · KV, P, D], and the memory of both, all keys first. */
interface Layer {
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly both: Tensor;
}

export interface KvOptions {
  readonly numSlots: number;
  /** Longest sequence a slot can hold. */
  readonly maxPositions: number;
  readonly dtype: DType;
  readonly device: Device;
  /** Whether the attention of our own reads it; where it can, unless told otherwise. */
  readonly fused?: boolean;
}

export class KvCache {
  readonly numSlots: number;
  readonly maxPositions: number;
  /** P: room for the longest sequence so far and a spare position, in whole buckets; it grows. */
  capacity: number;
  /** KV. */
  readonly numHeads: number;
  /** Keys lie in memory as [S · KV, D, P], as the attention of our own reads them. */
  readonly fused: boolean;
  /** Attention looks at a number of positions rounded up to this. */
  readonly bucket: number;
  /** By layer: keys and values, [S · KV, P, D] each. */
  #layers: readonly Layer[];
  readonly #headDim: number;
  readonly #dtype: DType;
  readonly #device: Device;

  constructor(config: TextConfig, options: KvOptions) {
    const { numSlots, maxPositions, dtype, device } = options;
    this.numSlots = numSlots;
    this.maxPositions = maxPositions;
    this.numHeads = config.numKeyValueHeads;
    this.bucket = config.numHeads / config.numKeyValueHeads <= 2 ? 16 : 128;
    this.#headDim = config.headDim;
    this.#dtype = dtype;
    this.#device = device;
    this.fused = options.fused ?? hasKernelsFor(dtype, device);
    this.capacity = this.#wholeBuckets(Math.min(maxPositions, firstPositions) + 1);
    this.#layers = this.#emptyLayers(config.numLayers);
  }

  /** Keys or values of one slot, [KV, length, D]; a view. */
  slot(layer: number, part: Part, slot: number, start: number, length: number): Tensor {
    return this.#layers[layer][part]
      .narrow(0, slot * this.numHeads, this.numHeads)
      .narrow(1, start, length);
  }

  /** Keys or values of all slots up to `length`, [S · KV, length, D]; a view. */
  all(layer: number, part: Part, length: number): Tensor {
    return this.#layers[layer][part].narrow(1, 0, length);
  }

  /** A layer as the attention of our own takes it: keys [S · KV, D, P], values [S · KV, P, D]. */
  turned(layer: number): { keys: Tensor; values: Tensor } {
    const { keys, values } = this.#layers[layer];
    return { keys: keys.transpose(1, 2), values };
  }

  /**
   * Keys and values position by position, [S · KV · P, 2, D]; a view. Row r · P + p is position p of
   * row r = slot · KV + head; a slot that is full has a spare position.
   */
  rows(layer: number): Tensor {
    const rows = this.numSlots * this.numHeads * this.capacity;
    return this.#layers[layer].both.view([2, rows, this.#headDim]).transpose(0, 1);
  }

  /** Copies the first `length` positions of one slot to others, so that a group shares a prefill. */
  copyPrefix(from: number, to: readonly number[], length: number): void {
    const targets = to.filter((slot) => slot !== from);
    if (targets.length === 0 || length === 0) return;
    this.checkRoom(length);
    noGrad(() =>
      scope(() => {
        const rows = targets.flatMap((slot) =>
          Array.from({ length: this.numHeads }, (_, head) => slot * this.numHeads + head),
        );
        const index = tensor(rows, { dtype: "int64", device: this.#device });
        for (const layer of this.#layers.keys())
          for (const part of ["keys", "values"] as const) {
            // In the order in which keys or values lie in memory.
            const order = (view: Tensor): Tensor =>
              part === "keys" && this.fused ? view.transpose(1, 2) : view;
            const held = order(this.slot(layer, part, from, 0, length));
            const copies = held.repeat([targets.length, 1, 1]);
            order(this.all(layer, part, length)).indexCopy_(0, index, copies);
          }
      }),
    );
  }

  /**
   * Makes room for sequences of `length` positions.
   * @throws VigorlError "input" where that exceeds `maxPositions`
   */
  checkRoom(length: number): void {
    if (length > this.maxPositions) {
      throw new VigorlError(
        "input",
        `a sequence of ${length} positions does not fit into a cache of ${this.maxPositions}`,
        { hint: "raise maxPositions of the engine, or shorten the prompt" },
      );
    }
    if (length < this.capacity) return;
    const held = this.capacity;
    const wanted = Math.max(length, Math.ceil(growth * held));
    this.capacity = this.#wholeBuckets(Math.min(wanted, this.maxPositions) + 1);
    const before = this.#layers;
    this.#layers = this.#emptyLayers(before.length);
    noGrad(() =>
      scope(() => {
        for (const [i, layer] of before.entries())
          for (const part of ["keys", "values"] as const)
            this.all(i, part, held).copy_(layer[part]);
      }),
    );
    dispose(before);
  }

  dispose(): void {
    dispose(this.#layers);
  }

  #wholeBuckets(positions: number): number {
    return Math.ceil(positions / this.bucket) * this.bucket;
  }

  #emptyLayers(count: number): Layer[] {
    const rows = this.numSlots * this.numHeads;
    const shape = [2 * rows, this.capacity, this.#headDim];
    const options = { dtype: this.#dtype, device: this.#device };
    const shapes = Array.from({ length: count }, () => shape);
    const block = allocateBlock(shapes, options);
    const layers = divideBlock(block, shapes);
    block.dispose();
    return noGrad(() =>
      scope(() =>
        layers.map((both) => {
          const [first, values] = both.zero_().splitWithSizes([rows, rows], 0);
          const keys = this.fused
            ? first.view([rows, this.#headDim, this.capacity]).transpose(1, 2)
            : first;
          return { both, keys: keys.keep(), values: values.keep() };
        }),
      ),
    );
  }
}

function dispose(layers: readonly Layer[]): void {
  for (const { both, keys, values } of layers)
    for (const part of [both, keys, values]) part.dispose();
}
