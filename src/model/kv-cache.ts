/**
 * Keys and values of a fixed number of slots, one growing sequence a slot, written in place. Shapes
 * never change while slots come and go, which is what makes a row's bits independent of its neighbours.
 * Legend: S slots, KV key-value heads, P positions a slot has room for, D head size.
 */
import { allocateZeros, divideBlock } from "../torch/arena.ts";
import { hasHalfKernelsFor, hasKernelsFor } from "../torch/kernels.ts";
import type { Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor, type Device, type DType } from "../torch/tensor.ts";
import { hasVarlen } from "../torch/varlen.ts";
import { VigorlError } from "../core/errors.ts";
import { numAttentionLayers, type TextConfig } from "./config.ts";

/** Positions that a new cache has room for, where as many are wanted. */
const firstPositions = 63;
/**
 * A cache that grows gets this much larger. Little, because a step of decoding reads most of the cache
 * and reads fastest what lies close together; copying is rare beside it.
 */
const growth = 1.25;
/**
 * Positions of a slot of a new cache of rows, one of them spare: there what is not used is not read, and every
 * size has graphs of its own.
 */
export const FIRST_ROWS = 1024;
const rowGrowth = 1.6;
/** Where room for more is paid for with slots. */
const rowStep = 256;

type Part = "keys" | "values";

/**
 * How keys and values lie, and with that who attends to them: as the operator of our own reads them, as
 * one row a position for flash attention, or as one matrix a head for libtorch's products.
 */
export type CacheForm = "packed" | "rows" | "matrices";

/** The form for tensors of this kind. */
export function cacheFormFor(
  dtype: DType,
  device: Device,
  { headDim, delta }: Pick<TextConfig, "headDim" | "delta">,
): CacheForm {
  // What goes on beside delta nets in bfloat16 is libtorch's.
  const readsHalves = hasHalfKernelsFor(dtype, device) && delta === undefined;
  if (hasKernelsFor(dtype, device) || readsHalves) return "packed";
  return hasVarlen(dtype, device, headDim) ? "rows" : "matrices";
}

/** What keys and values are kept in: our own attention takes float32. */
export function cacheDtypeFor(form: CacheForm, dtype: DType): DType {
  return form === "packed" ? "float32" : dtype;
}

export interface KvOptions {
  readonly numSlots: number;
  /** Longest sequence a slot can hold. */
  readonly maxPositions: number;
  readonly dtype: DType;
  readonly device: Device;
  /** Chosen by dtype and device, unless told otherwise. */
  readonly form?: CacheForm;
  /**
   * Positions of all slots together, of a cache of rows: where sequences are long there are fewer slots.
   * Without a bound all slots have room for the longest.
   */
  readonly maxCells?: number;
}

export class KvCache {
  readonly numSlots: number;
  readonly maxPositions: number;
  /** P: room for the longest sequence so far and a spare position, in whole buckets; it grows. */
  capacity: number;
  /** Slots that there are at this capacity, the first of all; at least one. */
  numOpen: number;
  /** KV. */
  readonly numHeads: number;
  readonly form: CacheForm;
  /** Attention looks at a number of positions rounded up to this. */
  readonly bucket: number;
  readonly #maxCells: number;
  readonly #numLayers: number;
  /** [L, 2, S, KV, P, D], keys first; as rows [L, S, P, 2, KV, D]. */
  #block: Tensor;
  readonly #headDim: number;
  readonly #dtype: DType;
  readonly #device: Device;
  /** Large models read their weights in every step, beside which the cache is little. */
  readonly #pages: "huge" | "usual";
  /** Slots that something was written to, the first of all. */
  #numWritten = 0;

  constructor(config: TextConfig, options: KvOptions) {
    const { numSlots, maxPositions, dtype, device } = options;
    this.numSlots = numSlots;
    this.maxPositions = maxPositions;
    this.numHeads = config.numKeyValueHeads;
    this.#numLayers = numAttentionLayers(config);
    this.#headDim = config.headDim;
    this.#device = device;
    this.form = options.form ?? cacheFormFor(dtype, device, config);
    this.#dtype = cacheDtypeFor(this.form, dtype);
    this.#pages = this.#dtype === dtype ? "huge" : "usual";
    const isOneProduct = device !== "cpu" && config.numHeads / config.numKeyValueHeads <= 2;
    this.bucket = this.form !== "matrices" || isOneProduct ? 16 : 128;
    this.#maxCells = options.maxCells ?? Infinity;
    this.capacity = this.#firstCapacity(0);
    this.numOpen = this.#openAt(this.capacity);
    this.#block = this.#empty();
  }

  /** Keys or values of one slot, [KV, length, D]; a view. Of matrices. */
  slot(layer: number, part: Part, slot: number, start: number, length: number): Tensor {
    return this.#part(layer, part).select(0, slot).narrow(1, start, length);
  }

  /** Keys or values of all slots up to `length`, [S · KV, length, D]; a view. Of matrices. */
  all(layer: number, part: Part, length: number): Tensor {
    return this.#part(layer, part).flatten(0, 1).narrow(1, 0, length);
  }

  /**
   * A layer as the attention of our own takes it: keys [S, KV, P / 16, D, 16], values [S, KV, P, D];
   * views. Only where packed.
   */
  blocks(layer: number): { keys: Tensor; values: Tensor } {
    const shape = [this.numSlots, this.numHeads, this.capacity / 16, this.#headDim, 16];
    return { keys: this.#part(layer, "keys").view(shape), values: this.#part(layer, "values") };
  }

  /**
   * Keys and values position by position, [S · KV · P, 2, D]; a view. Row r · P + p is position p of
   * row r = slot · KV + head; a slot that is full has a spare position. Of matrices.
   */
  headRows(layer: number): Tensor {
    const rows = this.numSlots * this.numHeads * this.capacity;
    return this.#block.select(0, layer).view([2, rows, this.#headDim]).transpose(0, 1);
  }

  /**
   * Keys and values [2 · KV · D] position by position, [S · P, 2 · KV · D]; a view. Row s · P + p is
   * position p of slot s; a slot that is full has a spare position. Of rows.
   */
  rows(layer: number): Tensor {
    const width = 2 * this.numHeads * this.#headDim;
    return this.#block.select(0, layer).view([this.numOpen * this.capacity, width]);
  }

  /** Has to be told of slots before they are written to: what only others hold takes no memory. */
  willWrite(slots: readonly number[]): void {
    for (const slot of slots) this.#numWritten = Math.max(this.#numWritten, slot + 1);
  }

  /** Writes the first T positions of a slot, [layers, 2, KV, T, D], keys first. Of matrices. */
  write(slot: number, keysValues: Tensor): void {
    this.#block.select(2, slot).narrow(3, 0, keysValues.size(3)).copy_(keysValues);
  }

  /** Copies the first `length` positions of one slot to others, so that a group shares a prefill. */
  copyPrefix(from: number, to: readonly number[], length: number): void {
    const targets = to.filter((slot) => slot !== from);
    if (targets.length === 0 || length === 0) return;
    this.checkRoom(length);
    this.willWrite(targets);
    noGrad(() =>
      scope(() => {
        const held = this.#beginnings(this.#block, length);
        const axis = this.form === "rows" ? 1 : 2;
        const source = held.narrow(axis, from, 1);
        if (targets.length === 1) {
          held.narrow(axis, targets[0], 1).copy_(source);
          return;
        }
        const index = tensor(targets, { dtype: "int64", device: this.#device });
        held.indexCopy_(axis, index, source.expand(held.shape.with(axis, targets.length)));
      }),
    );
  }

  /** Slots that there would be with room for sequences of `length` positions. */
  openWith(length: number): number {
    return this.#openAt(this.#capacityFor(length));
  }

  /**
   * Makes room for sequences of `length` positions; slots beyond those that are open then are lost.
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
    this.capacity = this.#capacityFor(length);
    this.numOpen = this.#openAt(this.capacity);
    const before = this.#block;
    this.#block = this.#empty();
    noGrad(() =>
      scope(() => {
        const axis = this.form === "rows" ? 1 : 2;
        const numKept = this.form === "rows" ? this.numOpen : this.#numWritten;
        const [from, to] = [before, this.#block].map((block) => block.narrow(axis, 0, numKept));
        this.#beginnings(to, held).copy_(this.#beginnings(from, held));
      }),
    );
    before.dispose();
  }

  /** Slots that there would be if the cache began anew with sequences of `length` positions. */
  openAnew(length: number): number {
    return this.#openAt(this.#firstCapacity(length));
  }

  /** Begins anew with room for sequences of `length` positions; what slots hold is lost. */
  restart(length: number): void {
    this.#block.dispose();
    this.capacity = this.#firstCapacity(length);
    this.numOpen = this.#openAt(this.capacity);
    this.#block = this.#empty();
  }

  dispose(): void {
    this.#block.dispose();
  }

  #firstCapacity(length: number): number {
    const first = this.form === "rows" ? FIRST_ROWS - 1 : firstPositions;
    return this.#wholeBuckets(Math.min(this.maxPositions, Math.max(first, length)) + 1);
  }

  /** The capacity with which sequences of `length` positions fit: larger than need be while it is free. */
  #capacityFor(length: number): number {
    if (length < this.capacity) return this.capacity;
    const factor = this.form === "rows" ? rowGrowth : growth;
    const enough = (positions: number): number =>
      this.#wholeBuckets(Math.min(Math.max(length, positions), this.maxPositions) + 1);
    const grown = enough(Math.ceil(factor * this.capacity));
    if (this.#openAt(grown) === this.numSlots) return grown;
    return enough(Math.ceil((length + 1) / rowStep) * rowStep - 1);
  }

  #openAt(capacity: number): number {
    return Math.max(1, Math.min(this.numSlots, Math.floor(this.#maxCells / capacity)));
  }

  #wholeBuckets(positions: number): number {
    return Math.ceil(positions / this.bucket) * this.bucket;
  }

  /** [S, KV, P, D]; where packed, keys are not what this shape says. Not of rows. */
  #part(layer: number, part: Part): Tensor {
    return this.#block.select(0, layer).select(0, part === "keys" ? 0 : 1);
  }

  /**
   * The first `length` positions, rounded up to sixteen: [L, 2, S, KV, length · D], as rows
   * [L, S, length, 2, KV, D].
   */
  #beginnings(block: Tensor, length: number): Tensor {
    const rounded = Math.ceil(length / 16) * 16;
    if (this.form === "rows") return block.narrow(2, 0, rounded);
    return block.flatten(4).narrow(4, 0, rounded * this.#headDim);
  }

  #empty(): Tensor {
    const { numSlots, numOpen, numHeads, capacity } = this;
    const shape =
      this.form === "rows"
        ? [this.#numLayers, numOpen, capacity, 2, numHeads, this.#headDim]
        : [this.#numLayers, 2, numSlots, numHeads, capacity, this.#headDim];
    const options = { dtype: this.#dtype, device: this.#device };
    const block = allocateZeros([shape], options, this.#pages);
    const [whole] = divideBlock(block, [shape]);
    block.dispose();
    return whole;
  }
}
