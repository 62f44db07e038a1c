/**
 * Attention over the cache in libtorch's operators, for any device and dtype.
 * Legend: S slots, T new positions, L positions attended to, P positions of the cache, H query heads,
 * KV key-value heads, G = H / KV, D head size.
 */
import { attention } from "../torch/nn.ts";
import { cat, full, ones, zeros, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import {
  factorsOf,
  Integers,
  type AttendLayer,
  type CacheAttention,
  type DecodeRow,
  type DecodeStep,
  type PrefillPlace,
} from "./cache-attention.ts";
import type { TextConfig } from "./config.ts";
import { rotate_ } from "./fused.ts";
import type { KvCache } from "./kv-cache.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/**
 * Keeps what a layer has new, keys and values [KV, T, D], and gives all that its queries may look at: the
 * same after what came before.
 */
export type Remember = (layer: number, fresh: [keys: Tensor, values: Tensor]) => [Tensor, Tensor];

/**
 * Causal attention of T new positions, after `offset` others, to what `remember` gives.
 * @param factors complex [T, D / 2]
 */
export function attendPrompt(
  { numHeads, numKeyValueHeads: keyHeads, headDim }: TextConfig,
  factors: Tensor,
  offset: number,
  remember: Remember,
): AttendLayer {
  const groups = numHeads / keyHeads;
  const length = factors.size(0);
  const turns = factors.view([length, 1, 1, -1]);
  const mask =
    offset === 0
      ? undefined
      : ones([length, offset + length], { dtype: "bool", device: factors.device }).tril(offset);
  return (layer, rows) => {
    const all = rows.view([length, keyHeads, groups + 2, headDim]);
    rotate_(all.narrow(2, 0, groups + 1), turns);
    // Each key-value head with its queries: [KV, G, T, D], [KV, T, D], [KV, T, D].
    const heads = all.permute([1, 2, 0, 3]);
    const [keys, values] = remember(layer, [heads.select(1, groups), heads.select(1, groups + 1)]);
    return attention(
      heads.narrow(1, 0, groups),
      keys.unsqueeze(1),
      values.unsqueeze(1),
      mask === undefined ? { isCausal: true } : { mask },
    )
      .permute([2, 0, 1, 3])
      .reshape([length, -1]);
  };
}

export class PlainAttention implements CacheAttention {
  readonly #cache: KvCache;
  readonly #config: TextConfig;
  readonly #groups: number;
  readonly #headDim: number;
  readonly #isOneProduct: boolean;
  /** Tokens [S], then [S · KV] each of cache rows, M-RoPE positions, rows of `window`. */
  readonly #input: Integers;
  readonly #factors: Tensor;
  /** Row P - 1 - n, read over L entries: 0 for positions 0…n, -Infinity beyond. [2P] */
  readonly #window: Tensor;

  constructor(model: VisionLanguageModel, cache: KvCache) {
    const { dtype, device, config } = model;
    const { numSlots, numHeads, capacity } = cache;
    this.#cache = cache;
    this.#config = config.text;
    this.#groups = config.text.numHeads / numHeads;
    this.#headDim = config.text.headDim;
    this.#isOneProduct = device !== "cpu" && this.#groups <= 2;
    this.#input = new Integers(numSlots * (1 + 3 * numHeads), device);
    this.#factors = factorsOf(model, capacity).keep();
    const options = { dtype, device };
    this.#window = scope(() =>
      cat([zeros([capacity], options), full([capacity], -Infinity, options)]),
    ).keep();
  }

  prefill([{ slot, offset, length }]: readonly PrefillPlace[], factors: Tensor): AttendLayer {
    return attendPrompt(this.#config, factors, offset, (layer, fresh) => {
      const [keys, values] = (["keys", "values"] as const).map((part, i) => {
        this.#cache.slot(layer, part, slot, offset, length).copy_(fresh[i]);
        if (offset === 0) return fresh[i];
        return this.#cache.slot(layer, part, slot, 0, offset + length).contiguous();
      });
      return [keys, values];
    });
  }

  /** Slots that take no part write to their spare position and look at their first. */
  describe(rows: readonly DecodeRow[]): number {
    const { numSlots, numHeads, capacity, bucket } = this.#cache;
    const numRows = numSlots * numHeads;
    const input = this.#input;
    const inSlot: (DecodeRow | undefined)[] = Array.from({ length: numSlots });
    let longest = 0;
    for (const row of rows) {
      inSlot[row.slot] = row;
      longest = Math.max(longest, row.length + 1);
    }
    for (const [slot, row] of inSlot.entries()) {
      input.set(slot, row?.token ?? 0);
      for (let i = slot * numHeads; i < (slot + 1) * numHeads; i++) {
        input.set(numSlots + i, i * capacity + (row?.length ?? capacity - 1));
        input.set(numSlots + numRows + i, row?.rope ?? 0);
        input.set(numSlots + 2 * numRows + i, capacity - 1 - (row?.length ?? 0));
      }
    }
    input.write();
    return Math.ceil(longest / bucket) * bucket;
  }

  /** @param reach positions to attend to */
  decode(reach: number): DecodeStep {
    const { numSlots, numHeads, capacity } = this.#cache;
    const numRows = numSlots * numHeads;
    const [tokens, rows, positions, starts] = this.#input.tensor.splitWithSizes(
      [numSlots, numRows, numRows, numRows],
      0,
    );
    const factors = this.#factors.indexSelect(0, positions).unsqueeze(1);
    const mask = this.#window
      .asStrided([capacity, reach], [1, 1])
      .indexSelect(0, starts)
      .unsqueeze(1);
    const attend: AttendLayer = (layer, projected) => {
      const heads = projected.view([numRows, this.#groups + 2, this.#headDim]);
      rotate_(heads.narrow(1, 0, this.#groups + 1), factors);
      this.#cache.headRows(layer).indexCopy_(0, rows, heads.narrow(1, this.#groups, 2));
      return this.#attend(layer, heads.narrow(1, 0, this.#groups), mask, reach).view([
        numSlots,
        -1,
      ]);
    };
    return { tokens, attend };
  }

  rowOf(rows: readonly DecodeRow[], i: number): number {
    return rows[i].slot;
  }

  dispose(): void {
    for (const own of [this.#input.tensor, this.#factors, this.#window]) own.dispose();
  }

  /**
   * The G query heads of a key-value head are the rows of one small matrix. How many positions are
   * attended to depends on the longest slot, so the products must not round differently for more of
   * them (weights beyond a slot's own end are exactly zero): they are summed bucket by bucket. On a fast
   * device, where no bits are promised, up to two rows are one product.
   * @param queries [S · KV, G, D]
   * @returns [S · KV, G, D]
   */
  #attend(layer: number, queries: Tensor, mask: Tensor, reach: number): Tensor {
    const size = this.#isOneProduct ? reach : this.#cache.bucket;
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
