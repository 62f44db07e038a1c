/**
 * Attention over a cache of rows, by flash attention and, in a step on a GPU, by a kernel of our own: a
 * row is a position with all of its keys and values. Every sequence reads as far as it goes itself, so a
 * step runs the rows it has and no others, and prompts of several slots are one pass.
 * Legend: N rows, R rows of a step as it is recorded, S slots, P positions of the cache, H query heads,
 * KV key-value heads, D head size.
 */
import { hasGpuKernels } from "../torch/gpu-kernels.ts";
import { attendsRows, kernels } from "../torch/kernels.ts";
import { zeros, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import { spansOf, varlenAttention, type Spans } from "../torch/varlen.ts";
import {
  factorsOf,
  type AttendLayer,
  type CacheAttention,
  type DecodeRow,
  type DecodeStep,
  type PrefillPlace,
} from "./cache-attention.ts";
import { rotate_ } from "./fused.ts";
import type { KvCache } from "./kv-cache.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** Integers of a row: token, row of the cache, M-RoPE position, first row of its slot, positions held. */
const COLUMNS = 5;

export class RowAttention implements CacheAttention {
  readonly #cache: KvCache;
  readonly #numHeads: number;
  readonly #headDim: number;
  readonly #maxRows: number;
  readonly #hasKernels: boolean;
  /** Counters of `kernels.attendRows`, where it takes these heads. */
  readonly #ended: Tensor | undefined;
  /** Column by column, each with an entry more than there are rows: int32 [5, R + 1]. */
  readonly #input: Tensor;
  readonly #numbers: Int32Array;
  readonly #factors: Tensor;
  /** One query each: int32 [R + 1]. */
  readonly #single: Tensor;

  constructor(model: VisionLanguageModel, cache: KvCache, numRows: number) {
    const { device } = model;
    const { numHeads, headDim } = model.config.text;
    this.#cache = cache;
    this.#numHeads = numHeads;
    this.#headDim = headDim;
    this.#maxRows = shapeFor(numRows);
    this.#hasKernels = hasGpuKernels(model);
    if (this.#hasKernels && attendsRows(headDim, numHeads / cache.numHeads)) {
      const count = this.#maxRows * cache.numHeads;
      this.#ended = scope(() => zeros([count], { dtype: "int32", device })).keep();
    }
    const width = this.#maxRows + 1;
    this.#numbers = new Int32Array(COLUMNS * width);
    this.#input = scope(() => zeros([COLUMNS, width], { dtype: "int32", device })).keep();
    this.#factors = scope(() => factorsOf(model, cache.capacity)).keep();
    const ones = Array.from({ length: this.#maxRows }, () => 1);
    this.#single = scope(() => spansOf(ones, device).starts).keep();
  }

  /** @param factors complex [N, D / 2], of all new positions, one sequence after another */
  prefill(places: readonly PrefillPlace[], factors: Tensor): AttendLayer {
    const { device } = factors;
    const { capacity } = this.#cache;
    const rows = new Int32Array(factors.size(0));
    const starts = new Int32Array(places.length + 1);
    const held = new Int32Array(places.length);
    let at = 0;
    let longest = 0;
    for (const [s, { slot, offset, length }] of places.entries()) {
      starts[s] = slot * capacity;
      held[s] = offset + length;
      longest = Math.max(longest, held[s]);
      for (let t = 0; t < length; t++) rows[at++] = starts[s] + offset + t;
    }
    starts[places.length] = this.#cache.numOpen * capacity;
    const spans = {
      queries: spansOf(
        places.map(({ length }) => length),
        device,
      ),
      keys: {
        starts: tensor(starts, { dtype: "int32", device }),
        lengths: tensor(held, { dtype: "int32", device }),
        longest,
      },
    };
    const index = tensor(rows, { dtype: "int64", device });
    return (layer, heads) => this.#attend(layer, heads, { factors }, index, spans);
  }

  /** Rows that nothing is computed for write to the spare position of the first slot and look there. */
  describe(rows: readonly DecodeRow[]): number {
    const { capacity } = this.#cache;
    const width = this.#maxRows + 1;
    const shape = shapeFor(rows.length);
    for (let i = 0; i <= shape; i++) {
      const row = i < rows.length ? rows[i] : undefined;
      const first = (row?.slot ?? 0) * capacity;
      const columns = row
        ? [row.token, first + row.length, row.rope, first, row.length + 1]
        : [0, capacity - 1, 0, capacity - 1, 1];
      for (const [column, value] of columns.entries()) this.#numbers[column * width + i] = value;
    }
    this.#input.setBytes(this.#numbers);
    return shape;
  }

  decode(shape: number): DecodeStep {
    const column = (index: number, count: number): Tensor =>
      this.#input.select(0, index).narrow(0, 0, count);
    const tokens = column(0, shape).to("int64");
    const positions = column(2, shape).to("int64");
    const { capacity, numHeads: numKeys } = this.#cache;
    const held = { starts: column(3, shape + 1), lengths: column(4, shape) };
    if (this.#ended !== undefined) {
      const ended = this.#ended;
      const rotation = { factors: this.#factors, turns: positions };
      const counts = [this.#numHeads, numKeys] as const;
      const attend: AttendLayer = (layer, heads) => {
        const cached = this.#cache.rows(layer);
        return kernels.attendRows(heads, rotation, held, cached, ended, capacity, counts);
      };
      return { tokens, attend };
    }
    const rows = column(1, shape).to("int64");
    const turns = this.#hasKernels
      ? { factors: this.#factors, turns: positions }
      : { factors: this.#factors.indexSelect(0, positions) };
    const spans = {
      queries: { starts: this.#single.narrow(0, 0, shape + 1), longest: 1 },
      keys: { ...held, longest: capacity },
    };
    return { tokens, attend: (layer, heads) => this.#attend(layer, heads, turns, rows, spans) };
  }

  rowOf(_: readonly DecodeRow[], i: number): number {
    return i;
  }

  dispose(): void {
    for (const own of [this.#input, this.#factors, this.#single, this.#ended]) own?.dispose();
  }

  /**
   * @param projected [N, (H + 2 KV) · D]: queries, keys, values
   * @param rotation factors, complex [N, D / 2], or a table of them and the row of each
   * @param rows of the cache, int64 [N]
   */
  #attend(
    layer: number,
    projected: Tensor,
    rotation: { readonly factors: Tensor; readonly turns?: Tensor },
    rows: Tensor,
    spans: { readonly queries: Spans; readonly keys: Spans },
  ): Tensor {
    const numKeys = this.#cache.numHeads;
    const cached = this.#cache.rows(layer);
    const held = cached.view([cached.size(0), 2, numKeys, this.#headDim]);
    const [keys, values] = [held.select(1, 0), held.select(1, 1)];
    const queries = this.#hasKernels
      ? kernels.cacheHeads(projected, rotation, rows, cached, [this.#numHeads, numKeys])
      : this.#store(projected, rotation.factors, rows, cached);
    return varlenAttention(queries, keys, values, { ...spans, causal: true }).flatten(1);
  }

  /** `kernels.cacheHeads` in libtorch's operators. */
  #store(projected: Tensor, factors: Tensor, rows: Tensor, cached: Tensor): Tensor {
    const numKeys = this.#cache.numHeads;
    const heads = projected.view([projected.size(0), -1, this.#headDim]);
    rotate_(heads.narrow(1, 0, this.#numHeads + numKeys), factors.unsqueeze(1));
    cached.indexCopy_(0, rows, heads.narrow(1, this.#numHeads, 2 * numKeys).flatten(1));
    return heads.narrow(1, 0, this.#numHeads);
  }
}

/** Rows that a step of `count` is run with: few shapes, so that there are few graphs. */
function shapeFor(count: number): number {
  if (count <= 2) return count;
  const unit = count <= 16 ? 4 : count <= 64 ? 8 : 32;
  return Math.ceil(count / unit) * unit;
}
