/**
 * Keys and values of a fixed number of slots, one growing sequence a slot, written in place. Shapes
 * never change while slots come and go, which is what makes a row's bits independent of its neighbours.
 * Legend: S slots, KV key-value heads, P positions a slot has room for, D head size.
 */
import { allocateBlock, divideBlock } from "../torch/arena.ts";
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

export interface KvOptions {
  readonly numSlots: number;
  /** Longest sequence a slot can hold. */
  readonly maxPositions: number;
  readonly dtype: DType;
  readonly device: Device;
}

export class KvCache {
  readonly numSlots: number;
  readonly maxPositions: number;
  /** P: room for the longest sequence so far and a spare position, in whole buckets; it grows. */
  capacity: number;
  /** KV. */
  readonly numHeads: number;
  /** Attention looks at a number of positions rounded up to this. */
  readonly bucket: number;
  /** By layer: keys and values in one tensor [2 · S · KV, P, D], all keys first. */
  layers: readonly Tensor[];
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
    this.capacity = this.#wholeBuckets(Math.min(maxPositions, firstPositions) + 1);
    this.layers = this.#emptyLayers(config.numLayers);
  }

  /** Keys (`part` 0) or values (1) of one slot, [KV, length, D]; a view. */
  slot(layer: number, part: 0 | 1, slot: number, start: number, length: number): Tensor {
    const first = (part * this.numSlots + slot) * this.numHeads;
    return this.layers[layer].narrow(0, first, this.numHeads).narrow(1, start, length);
  }

  /** Keys (`part` 0) or values (1) of all slots up to `length`, [S · KV, length, D]; a view. */
  all(layer: number, part: 0 | 1, length: number): Tensor {
    const rows = this.numSlots * this.numHeads;
    return this.layers[layer].narrow(0, part * rows, rows).narrow(1, 0, length);
  }

  /**
   * Keys and values position by position, [S · KV · P, 2, D]; a view. Row r · P + p is position p of
   * row r = slot · KV + head; a slot that is full has a spare position.
   */
  rows(layer: number): Tensor {
    const rows = this.numSlots * this.numHeads * this.capacity;
    return this.layers[layer].view([2, rows, this.#headDim]).transpose(0, 1);
  }

  /** Copies the first `length` positions of one slot to others, so that a group shares a prefill. */
  copyPrefix(from: number, to: readonly number[], length: number): void {
    const targets = to.filter((slot) => slot !== from);
    if (targets.length === 0 || length === 0) return;
    this.checkRoom(length);
    noGrad(() =>
      scope(() => {
        const { numHeads, numSlots } = this;
        const rows: number[] = [];
        for (const part of [0, 1])
          for (const slot of targets)
            for (let head = 0; head < numHeads; head++)
              rows.push((part * numSlots + slot) * numHeads + head);
        const index = tensor(rows, { dtype: "int64", device: this.#device });
        for (const [layer, cache] of this.layers.entries()) {
          const source = ([0, 1] as const).map((part) => {
            const held = this.slot(layer, part, from, 0, length);
            return held.repeat([targets.length, 1, 1]);
          });
          const prefix = cache.narrow(1, 0, length);
          const rowsOfPart = targets.length * numHeads;
          prefix.indexCopy_(0, index.narrow(0, 0, rowsOfPart), source[0]);
          prefix.indexCopy_(0, index.narrow(0, rowsOfPart, rowsOfPart), source[1]);
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
    const before = this.layers;
    this.layers = this.#emptyLayers(before.length);
    noGrad(() =>
      scope(() => {
        for (const [i, layer] of before.entries()) {
          this.layers[i].narrow(1, 0, held).copy_(layer);
          layer.dispose();
        }
      }),
    );
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose();
  }

  #wholeBuckets(positions: number): number {
    return Math.ceil(positions / this.bucket) * this.bucket;
  }

  #emptyLayers(count: number): Tensor[] {
    const shape = [2 * this.numSlots * this.numHeads, this.capacity, this.#headDim];
    const options = { dtype: this.#dtype, device: this.#device };
    const shapes = Array.from({ length: count }, () => shape);
    const block = allocateBlock(shapes, options);
    const layers = divideBlock(block, shapes);
    block.dispose();
    for (const layer of layers) layer.zero_();
    return layers;
  }
}
