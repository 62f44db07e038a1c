/**
 * Attention over flat rows that fall into segments (sequences, windows, images). In half precision on a
 * GPU they stay flat. Elsewhere segments of one length are a plain reshape; others are laid out padded on
 * the right, or, where padding would more than double the work, one by one. Causal attention needs no
 * mask for right padding: no real query looks that far; two-sided attention masks the padded keys.
 * Legend: N flat rows, S segments, T longest segment, H query heads, KV key-value heads, D head size.
 */
import { hasGpuKernels } from "../torch/gpu-kernels.ts";
import { hasKernels, kernels } from "../torch/kernels.ts";
import { attention } from "../torch/nn.ts";
import { cat, zeros, type Tensor } from "../torch/ops.ts";
import { tensor, type Device, type DType } from "../torch/tensor.ts";
import { hasVarlen, spansOf, varlenAttention, type Spans } from "../torch/varlen.ts";

export type SegmentLayout = "flat" | "equal" | "padded" | "separate";

export interface Segments {
  readonly layout: SegmentLayout;
  readonly lengths: readonly number[];
  /** T. */
  readonly longest: number;
  /** Padded row of each flat row, [N]; only where padded. */
  readonly rows?: Tensor;
  /** True where a padded key is real, [S, 1, 1, T]; only where padded. */
  readonly keyMask?: Tensor;
  /** Only where flat. */
  readonly spans?: Spans;
}

/** What the rows of segments are made of. */
export interface RowKind {
  readonly dtype: DType;
  readonly device: Device;
  /** D. */
  readonly headDim: number;
}

/** Lays segments out; `layout` overrides the choice. */
export function segment(
  lengths: readonly number[],
  { dtype, device, headDim }: RowKind,
  layout?: "padded" | "separate",
): Segments {
  let longest = 0;
  let total = 0;
  for (const length of lengths) {
    if (length > longest) longest = length;
    total += length;
  }
  if (layout === undefined && hasVarlen(dtype, device, headDim))
    return { layout: "flat", lengths, longest, spans: spansOf(lengths, device) };
  if (lengths.every((length) => length === longest)) return { layout: "equal", lengths, longest };
  const padded = lengths.length * longest;
  if ((layout ?? (padded > 2 * total ? "separate" : "padded")) === "separate") {
    return { layout: "separate", lengths, longest };
  }
  const rows = new Int32Array(total);
  const real = new Uint8Array(padded);
  let at = 0;
  for (const [s, length] of lengths.entries()) {
    real.fill(1, s * longest, s * longest + length);
    for (let t = 0; t < length; t++) rows[at++] = s * longest + t;
  }
  return {
    layout: "padded",
    lengths,
    longest,
    rows: tensor(rows, { dtype: "int64", device }),
    keyMask: tensor(real, { shape: [lengths.length, 1, 1, longest], device }).to("bool"),
  };
}

/** How many heads a projection has. */
export interface HeadCounts {
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
}

/**
 * Softmax attention within each segment, scaled by 1/√D, of queries and keys rotated by their
 * positions.
 * @param qkv [N, (H + 2 KV) · D], query and key heads `interleaved`
 * @param factors complex [N, D / 2], of a `Rotary`
 * @param rows the flat rows to return, int64, ascending; all where absent
 * @returns [N, H · D]
 */
export function attendSegments(
  qkv: Tensor,
  factors: Tensor,
  { numHeads, numKeyValueHeads }: HeadCounts,
  segments: Segments,
  causal: boolean,
  rows?: Tensor,
): Tensor {
  const { lengths, longest, layout } = segments;
  const padding = segments.rows && { rows: segments.rows, numRows: lengths.length * longest };
  const headsOf = (): Tensor[] => {
    if (hasKernels(qkv)) return kernels.heads(qkv, factors, numHeads, numKeyValueHeads, padding);
    if (segments.spans !== undefined && hasGpuKernels(qkv))
      return kernels.headsFlat(qkv, factors, numHeads, numKeyValueHeads);
    return plainHeads(qkv, factors, numHeads, numKeyValueHeads, padding);
  };
  const parts = headsOf();
  if (segments.spans !== undefined) {
    const [queries, keys, values] = parts;
    const own = { queries: segments.spans, keys: segments.spans, causal };
    return pick(varlenAttention(queries, keys, values, own).flatten(1), rows);
  }
  if (layout === "separate") {
    const split = parts.map((part) => part.splitWithSizes([...lengths], 0));
    const mixed = lengths.map((length, s) =>
      attend(
        split.map((part) => part[s]),
        [1, length],
        causal,
      ),
    );
    return pick(cat(mixed, 0), rows);
  }
  const mask = causal ? undefined : segments.keyMask;
  const mixed = attend(parts, [lengths.length, longest], causal, mask);
  if (segments.rows === undefined) return pick(mixed, rows);
  return pick(mixed, rows === undefined ? segments.rows : segments.rows.indexSelect(0, rows));
}

/** What `kernels.heads` does, in operators of libtorch; exported as its reference. */
export function plainHeads(
  qkv: Tensor,
  factors: Tensor,
  numHeads: number,
  numKeyValueHeads: number,
  padding?: { readonly rows: Tensor; readonly numRows: number },
): Tensor[] {
  const [queriesKeys, values] = qkv
    .unflatten(1, [numHeads + 2 * numKeyValueHeads, -1])
    .splitWithSizes([numHeads + numKeyValueHeads, numKeyValueHeads], 1);
  const [queries, keys] = rotate(queriesKeys, factors).splitWithSizes(
    [numHeads, numKeyValueHeads],
    1,
  );
  const parts = [queries, keys, values];
  if (padding === undefined) return parts;
  return parts.map((part) => {
    const [, count, size] = part.shape;
    const { dtype, device } = part;
    return zeros([padding.numRows, count, size], { dtype, device }).indexCopy(
      0,
      padding.rows,
      part,
    );
  });
}

/**
 * Rotates head vectors [N, heads, D], whose rotating halves are `interleaved`, by their positions: one
 * complex product, in float32 whatever the dtype.
 */
function rotate(heads: Tensor, factors: Tensor): Tensor {
  const { shape, dtype } = heads;
  const pairs = heads.to("float32").unflatten(-1, [shape[2] / 2, 2]);
  const rotated = pairs.viewAsComplex().mul(factors.unsqueeze(1));
  return rotated.viewAsReal().view(shape).to(dtype);
}

/** Rows of x [N, C], ascending; all where absent. */
export function pick(x: Tensor, rows?: Tensor): Tensor {
  if (rows === undefined) return x;
  return hasKernels(x) ? kernels.takeRows(x, rows) : x.indexSelect(0, rows);
}

/**
 * Rows [heads · D, …] of a projection with the two halves of each head, which rotate together, laid
 * side by side as pairs; where the first R numbers of a head rotate alone, the halves of each R of them.
 * Done to queries and keys alike it leaves their products as they are.
 */
export function interleaved(rows: Tensor, rotaryDim: number): Tensor {
  const { shape } = rows;
  return rows
    .view([-1, 2, rotaryDim / 2, ...shape.slice(1)])
    .transpose(1, 2)
    .reshape(shape);
}

/** Queries [S · T, H, D], keys and values [S · T, KV, D] to [S · T, H · D]. */
function attend(
  parts: readonly Tensor[],
  [numSegments, longest]: readonly [number, number],
  causal: boolean,
  mask?: Tensor,
): Tensor {
  const [queries, keys, values] = parts.map((part) =>
    part.unflatten(0, [numSegments, longest]).transpose(1, 2),
  );
  const mixed = attention(queries, keys, values, { isCausal: causal, mask });
  return mixed.transpose(1, 2).reshape([numSegments * longest, -1]);
}
