/**
 * Attention of a decode step: one query a head of every slot over the cache, in two forms. On a CPU in
 * float32 it is one operator of our own, for which slots are as long as they are; elsewhere it is made
 * of libtorch's operators, which have one length for all. Either way a slot's result depends, to the
 * bit, on what the slot holds and on nothing else.
 * Legend: S slots, L positions attended to, P positions of the cache, H query heads, KV key-value heads,
 * G = H / KV, D head size.
 */
import { kernels } from "../torch/kernels.ts";
import { cat, full, zeros, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { rotate_ } from "./fused.ts";
import type { KvCache } from "./kv-cache.ts";
import type { Qwen25VL } from "./qwen2-5-vl.ts";

export interface DecodeInput {
  /** Newest token of each slot, S; anything where idle. */
  readonly tokens: Int32Array;
  /** M-RoPE position of that token, S: the `next` of the sequence so far, then one more a token. */
  readonly positions: Int32Array;
  /** Cache positions each slot already holds, S; for idle slots too (their contents stay intact). */
  readonly lengths: Int32Array;
  /** 1 for slots that take part, S. */
  readonly active: Uint8Array;
  /**
   * A slot that begins with the same positions, S, and how many these are (0: none); they may be read
   * there.
   */
  readonly sources: Int32Array;
  readonly shared: Int32Array;
}

/** The attention of one cache size. What `begin` gives is recorded on a tape, once for each reach. */
export interface StepAttention {
  /** Newest tokens, int64 [S]. */
  readonly tokens: Tensor;
  /** Writes a step's integers to where its tape reads them. */
  describe(step: DecodeInput): void;
  /** Positions to attend to where the longest sequence has `longest`. */
  reach(longest: number): number;
  /** What runs in layer `layer`, from [S, KV · (G + 2) · D], which it may overwrite, to [S, H · D]. */
  begin(reach: number): (layer: number, qkv: Tensor) => Tensor;
  dispose(): void;
}

/** The form of attention that fits a cache. */
export function stepAttention(model: Qwen25VL, cache: KvCache): StepAttention {
  return cache.fused ? new FusedAttention(model, cache) : new ComposedAttention(model, cache);
}

/** Integers of a step, int64 on the device, written as the low words of as many. */
class Integers {
  readonly tensor: Tensor;
  readonly #words: Int32Array;

  constructor(count: number, device: Qwen25VL["device"]) {
    this.tensor = zeros([count], { dtype: "int64", device }).keep();
    this.#words = new Int32Array(2 * count);
  }

  set(index: number, value: number): void {
    this.#words[2 * index] = value;
    this.#words[2 * index + 1] = value < 0 ? -1 : 0;
  }

  write(): void {
    this.tensor.setBytes(this.#words);
  }
}

/** Rotary factors of text by position, complex [P, D / 2]. */
function factorsOf({ textRotary }: Qwen25VL, numPositions: number): Tensor {
  const ids = Int32Array.from({ length: numPositions }, (_, position) => position);
  return textRotary.at([ids, ids, ids]);
}

class FusedAttention implements StepAttention {
  readonly tokens: Tensor;
  readonly #cache: KvCache;
  readonly #numHeads: number;
  /** Tokens, then four of each slot. */
  readonly #input: Integers;
  readonly #slots: Tensor;
  readonly #factors: Tensor;
  readonly #layers: { keys: Tensor; values: Tensor }[];

  constructor(model: Qwen25VL, cache: KvCache) {
    const { numHeads, numLayers } = model.config.text;
    const { numSlots, capacity } = cache;
    this.#cache = cache;
    this.#numHeads = numHeads;
    this.#input = new Integers(5 * numSlots, model.device);
    const [tokens, slots] = this.#input.tensor.splitWithSizes([numSlots, 4 * numSlots], 0);
    this.tokens = tokens.keep();
    this.#slots = slots.view([numSlots, 4]).keep();
    this.#factors = factorsOf(model, capacity).keep();
    this.#layers = Array.from({ length: numLayers }, (_, layer) => {
      const { keys, values } = cache.turned(layer);
      return { keys: keys.keep(), values };
    });
  }

  describe({ tokens, positions, lengths, active, sources, shared }: DecodeInput): void {
    const { numSlots } = this.#cache;
    const input = this.#input;
    for (let slot = 0; slot < numSlots; slot++) {
      const first = numSlots + 4 * slot;
      input.set(slot, tokens[slot]);
      input.set(first, active[slot] === 1 ? lengths[slot] : -1);
      input.set(first + 1, positions[slot]);
      input.set(first + 2, sources[slot]);
      input.set(first + 3, shared[slot]);
    }
    input.write();
  }

  reach(): number {
    return this.#cache.capacity;
  }

  begin(): (layer: number, qkv: Tensor) => Tensor {
    return (layer, qkv) =>
      kernels.attendCached(qkv, this.#factors, this.#layers[layer], this.#slots, this.#numHeads);
  }

  dispose(): void {
    const { tokens } = this;
    for (const own of [tokens, this.#input.tensor, this.#slots, this.#factors]) own.dispose();
    for (const { keys } of this.#layers) keys.dispose();
  }
}

class ComposedAttention implements StepAttention {
  readonly tokens: Tensor;
  readonly #cache: KvCache;
  readonly #groups: number;
  readonly #headDim: number;
  /** Tokens [S], then [S · KV] each of cache rows, M-RoPE positions, rows of `window`. */
  readonly #input: Integers;
  readonly #factors: Tensor;
  /** Row P - 1 - n, read over L entries: 0 for positions 0…n, -Infinity beyond. [2P] */
  readonly #window: Tensor;

  constructor(model: Qwen25VL, cache: KvCache) {
    const { dtype, device, config } = model;
    const { numSlots, numHeads, capacity } = cache;
    this.#cache = cache;
    this.#groups = config.text.numHeads / numHeads;
    this.#headDim = config.text.headDim;
    this.#input = new Integers(numSlots * (1 + 3 * numHeads), device);
    this.tokens = this.#input.tensor.narrow(0, 0, numSlots).keep();
    this.#factors = factorsOf(model, capacity).keep();
    const options = { dtype, device };
    this.#window = scope(() =>
      cat([zeros([capacity], options), full([capacity], -Infinity, options)]),
    ).keep();
  }

  describe({ tokens, positions, lengths }: DecodeInput): void {
    const { numSlots, numHeads, capacity } = this.#cache;
    const numRows = numSlots * numHeads;
    const input = this.#input;
    for (let slot = 0; slot < numSlots; slot++) input.set(slot, tokens[slot]);
    for (let row = 0; row < numRows; row++) {
      const slot = Math.trunc(row / numHeads);
      input.set(numSlots + row, row * capacity + lengths[slot]);
      input.set(numSlots + numRows + row, positions[slot]);
      input.set(numSlots + 2 * numRows + row, capacity - 1 - lengths[slot]);
    }
    input.write();
  }

  reach(longest: number): number {
    const { bucket } = this.#cache;
    return Math.ceil(longest / bucket) * bucket;
  }

  begin(reach: number): (layer: number, qkv: Tensor) => Tensor {
    const { numSlots, numHeads, capacity } = this.#cache;
    const numRows = numSlots * numHeads;
    const [, rows, positions, starts] = this.#input.tensor.splitWithSizes(
      [numSlots, numRows, numRows, numRows],
      0,
    );
    const factors = this.#factors.indexSelect(0, positions).unsqueeze(1);
    const mask = this.#window
      .asStrided([capacity, reach], [1, 1])
      .indexSelect(0, starts)
      .unsqueeze(1);
    return (layer, qkv) => {
      const heads = qkv.view([numRows, this.#groups + 2, this.#headDim]);
      rotate_(heads.narrow(1, 0, this.#groups + 1), factors);
      this.#cache.rows(layer).indexCopy_(0, rows, heads.narrow(1, this.#groups, 2));
      return this.#attend(layer, heads.narrow(1, 0, this.#groups), mask, reach).view([
        numSlots,
        -1,
      ]);
    };
  }

  dispose(): void {
    const { tokens } = this;
    for (const own of [tokens, this.#input.tensor, this.#factors, this.#window]) own.dispose();
  }

  /**
   * The G query heads of a key-value head are the rows of one small matrix. How many positions are
   * attended to depends on the longest slot, so the products must not round differently for more of
   * them (weights beyond a slot's own end are exactly zero): up to two rows hold that as they are, more
   * are summed bucket by bucket.
   * @param queries [S · KV, G, D]
   * @returns [S · KV, G, D]
   */
  #attend(layer: number, queries: Tensor, mask: Tensor, reach: number): Tensor {
    const size = this.#groups <= 2 ? reach : this.#cache.bucket;
    const keys = this.#cache.all(layer, "keys", reach).transpose(1, 2);
    const values = this.#cache.all(layer, "values", reach);
    const alpha = this.#headDim ** -0.5;
    if (size === reach) return mask.baddbmm(queries, keys, { alpha }).softmax(-1).bmm(values);
    const scores: Tensor[] = [];
    for (let start = 0; start < reach; start += size) {
      const part = keys.narrow(2, start, size);
      scores.push(mask.narrow(2, start, size).baddbmm(queries, part, { alpha }));
    }
    const weights = cat(scores, 2).softmax(-1);
    let mixed = weights.narrow(2, 0, size).bmm(values.narrow(1, 0, size));
    for (let start = size; start < reach; start += size)
      mixed = mixed.baddbmm(weights.narrow(2, start, size), values.narrow(1, start, size));
    return mixed;
  }
}
