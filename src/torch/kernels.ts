/**
 * Operators of our own, from kernels.cpp, heads.cpp, halves.cpp, attend.cpp and draw.cpp in native/, and
 * for a GPU from cuda.cpp: one pass over memory where libtorch takes many. `nn.ts` and the models call them where
 * they exist and libtorch's own operators elsewhere. Products on packed weights are in `packed-linear.ts`.
 * Legend: N rows, H query heads, KV key-value heads, G = H / KV, D head size, S slots, P positions.
 */
import type { Device, DType } from "./dtype.ts";
import { native } from "./native.ts";
import { Tensor } from "./ops.ts";

const ops = {
  rmsNorm: native.op("vigorl::rms_norm"),
  swiglu: native.op("vigorl::swiglu"),
  heads: native.op("vigorl::heads"),
  takeRows: native.op("vigorl::take_rows"),
  halfLinear: native.op("vigorl::half_linear"),
  attendCached: native.op("vigorl::attend_cached"),
  drawTokens: native.op("vigorl::draw_tokens"),
  headsFlat: native.op("vigorl::heads_flat"),
  cacheHeads: native.op("vigorl::cache_heads"),
  attendRows: native.op("vigorl::attend_rows"),
};

/** Whether the operators take a tensor of this kind. */
export function hasKernels({ dtype, device }: Tensor): boolean {
  return hasKernelsFor(dtype, device);
}

export function hasKernelsFor(dtype: DType, device: Device): boolean {
  return dtype === "float32" && device === "cpu";
}

/** Whether `halfLinear` takes weights of this kind. */
export function hasHalfKernelsFor(dtype: DType, device: Device): boolean {
  return dtype === "bfloat16" && device === "cpu";
}

export const kernels = {
  rmsNorm: (x: Tensor, gain: Tensor, eps: number): Tensor =>
    new Tensor(native.call(ops.rmsNorm, x.id, gain.id, eps) as number),

  swiglu: (x: Tensor): Tensor => new Tensor(native.call(ops.swiglu, x.id) as number),

  /**
   * Queries [R, H, D], keys and values [R, KV, D] of projected rows [N, (H + 2 KV) · D], the first two
   * rotated by complex factors [N, D / 2] as neighbouring pairs.
   * @param layout row n goes to row `rows[n]`, ascending, of `numRows`; the others are zero
   */
  heads(
    qkv: Tensor,
    factors: Tensor,
    numHeads: number,
    numKeyValueHeads: number,
    layout?: { readonly rows: Tensor; readonly numRows: number },
  ): [queries: Tensor, keys: Tensor, values: Tensor] {
    const { id = null } = layout?.rows ?? {};
    const numRows = layout?.numRows ?? qkv.size(0);
    const { heads } = ops;
    const args = [qkv.id, factors.id, id, numRows, numHeads, numKeyValueHeads] as const;
    const [q, k, v] = native.call(heads, ...args) as number[];
    return [new Tensor(q), new Tensor(k), new Tensor(v)];
  },

  /** Rows [N, C] of x at int64 [N], ascending and each at most once. */
  takeRows: (x: Tensor, rows: Tensor): Tensor =>
    new Tensor(native.call(ops.takeRows, x.id, rows.id) as number),

  /**
   * Rows x [N, in] times matrices [any, in] of bfloat16 one below another, each read once for all rows:
   * [N, Σ out]. A row's bits do not depend on how many rows there are.
   * @param bias float32 [Σ out]
   * @param columns int32 [Σ out]: where each output stands in a row; in order where absent
   */
  halfLinear(
    x: Tensor,
    weights: readonly Tensor[],
    { bias, columns }: { readonly bias?: Tensor; readonly columns?: Tensor } = {},
  ): Tensor {
    const ids = weights.map(({ id }) => id);
    const { halfLinear } = ops;
    return new Tensor(
      native.call(halfLinear, x.id, ids, bias?.id ?? null, columns?.id ?? null) as number,
    );
  },

  /**
   * Rows are new positions of slots: stores the key and value of each and attends to all that its slot
   * then holds up to it. [N, H · D]
   * @param heads [N, KV · (G + 2) · D]: by key-value head its queries, its key, its value; rotated in
   *   place
   * @param factors complex [any, D / 2]
   * @param keys [S, KV, P / 16, D, 16]; `values` [S, KV, P, D]
   * @param rows int64 [N, 5], ascending in position within a slot: slot (-1 where idle), position, row
   *   of its rotary factors, slot to read the first positions from, and how many these are
   */
  attendCached(
    heads: Tensor,
    factors: Tensor,
    { keys, values }: { readonly keys: Tensor; readonly values: Tensor },
    rows: Tensor,
    numHeads: number,
  ): Tensor {
    const ids = [heads.id, factors.id, keys.id, values.id, rows.id] as const;
    return new Tensor(native.call(ops.attendCached, ...ids, numHeads) as number);
  },

  /**
   * Draws tokens from logits [R, V]: float64 [D, 2], each its id and its log-probability at temperature
   * 1 in the whole distribution.
   * @param requests float64 [D, 5]: row, uniform number in [0, 1), temperature (0: the likeliest), top-p
   *   in (0, 1], top-k (0: all)
   */
  drawTokens: (logits: Tensor, requests: Tensor): Tensor =>
    new Tensor(native.call(ops.drawTokens, logits.id, requests.id) as number),

  /**
   * On a GPU: queries [N, H, D], keys and values [N, KV, D] of projected rows [N, (H + 2 KV) · D], the
   * first two rotated by complex factors [N, D / 2] as neighbouring pairs.
   */
  headsFlat(
    qkv: Tensor,
    factors: Tensor,
    numHeads: number,
    numKeyValueHeads: number,
  ): [queries: Tensor, keys: Tensor, values: Tensor] {
    const args = [qkv.id, factors.id, numHeads, numKeyValueHeads] as const;
    const [q, k, v] = native.call(ops.headsFlat, ...args) as number[];
    return [new Tensor(q), new Tensor(k), new Tensor(v)];
  },

  /**
   * On a GPU, as `headsFlat`: the queries; keys and values go to rows of a cache [any, 2 · KV · D].
   * @param turns int64 [N], the row of `factors` of each; its own where absent
   * @param places int64 [N], the row of the cache of each
   */
  cacheHeads(
    qkv: Tensor,
    { factors, turns }: { readonly factors: Tensor; readonly turns?: Tensor },
    places: Tensor,
    cache: Tensor,
    [numHeads, numKeyValueHeads]: readonly [number, number],
  ): Tensor {
    const ids = [qkv.id, factors.id, turns?.id ?? null, places.id, cache.id] as const;
    return new Tensor(native.call(ops.cacheHeads, ...ids, numHeads, numKeyValueHeads) as number);
  },

  /**
   * On a GPU: rotates the heads of a new token of each sequence, stores its key and value at the end of
   * its rows of the cache, and attends to all of them. [N, H · D]
   * @param turns int64 [N], row of `factors` of each
   * @param starts int32 [≥ N], `lengths` int32 [N]: a sequence's rows of the cache, the new one included
   * @param ended int32 [≥ N · KV], zero before and after
   * @param longest no sequence is longer
   */
  attendRows(
    qkv: Tensor,
    { factors, turns }: { readonly factors: Tensor; readonly turns: Tensor },
    { starts, lengths }: { readonly starts: Tensor; readonly lengths: Tensor },
    cache: Tensor,
    ended: Tensor,
    longest: number,
    [numHeads, numKeyValueHeads]: readonly [number, number],
  ): Tensor {
    const ids = [qkv, factors, turns, starts, lengths, cache, ended].map(({ id }) => id);
    return new Tensor(
      native.call(ops.attendRows, ...ids, longest, numHeads, numKeyValueHeads) as number,
    );
  },
};

/** Whether `attendRows` takes heads like these. */
export function attendsRows(headDim: number, groups: number): boolean {
  return headDim === 128 && groups <= 8;
}
