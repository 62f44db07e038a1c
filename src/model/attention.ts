/**
 * Attention over flat rows that fall into segments (sequences, windows, images). Segments of one
 * length are a plain reshape; others are laid out padded on the right, or, where padding would more
 * than double the work, one by one. Causal attention needs no mask for right padding: no real query
 * looks that far; two-sided attention masks the padded keys.
 * Legend: N flat rows, S segments, T longest segment, H query heads, KV key-value heads, D head size.
 */
import { attention } from "../torch/nn.ts";
import { cat, zeros, type Tensor } from "../torch/ops.ts";
import { tensor, type Device } from "../torch/tensor.ts";

export type SegmentLayout = "equal" | "padded" | "separate";

export interface Segments {
  readonly layout: SegmentLayout;
  readonly lengths: readonly number[];
  /** T. */
  readonly longest: number;
  /** Padded row of each flat row, [N]; only where padded. */
  readonly rows?: Tensor;
  /** True where a padded key is real, [S, 1, 1, T]; only where padded. */
  readonly keyMask?: Tensor;
}

/** Lays segments out; `layout` overrides the choice for unequal lengths. */
export function segment(
  lengths: readonly number[],
  device: Device,
  layout?: "padded" | "separate",
): Segments {
  let longest = 0;
  let total = 0;
  for (const length of lengths) {
    if (length > longest) longest = length;
    total += length;
  }
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

/**
 * Softmax attention within each segment, scaled by 1/√D.
 * @param queriesKeys [N, H + KV, D]: query heads, then key heads
 * @param values [N, KV, D]
 * @returns [N, H · D]
 */
export function attendSegments(
  queriesKeys: Tensor,
  values: Tensor,
  segments: Segments,
  causal: boolean,
): Tensor {
  const numHeads = queriesKeys.shape[1] - values.shape[1];
  if (segments.layout === "separate") {
    const lengths = [...segments.lengths];
    const valueParts = values.splitWithSizes(lengths, 0);
    const parts = queriesKeys
      .splitWithSizes(lengths, 0)
      .map((part, s) => attendPadded(part.unsqueeze(0), valueParts[s].unsqueeze(0), causal));
    return cat(parts, 0);
  }
  const shape = [segments.lengths.length, segments.longest];
  if (segments.rows === undefined) {
    const [, heads, size] = queriesKeys.shape;
    return attendPadded(
      queriesKeys.view([...shape, heads, size]),
      values.reshape([...shape, heads - numHeads, size]),
      causal,
    );
  }
  const mixed = attendPadded(
    pad(queriesKeys, segments.rows, shape),
    pad(values, segments.rows, shape),
    causal,
    causal ? undefined : segments.keyMask,
  );
  return mixed.indexSelect(0, segments.rows);
}

/**
 * Rotates head vectors [N, heads, D], whose rotating halves are `interleaved`, by their positions: one
 * complex product, in float32 whatever the dtype.
 * @param factors complex [N, D / 2], of a `Rotary`
 */
export function rotate(heads: Tensor, factors: Tensor): Tensor {
  const { shape, dtype } = heads;
  const pairs = heads.to("float32").unflatten(-1, [shape[2] / 2, 2]);
  const rotated = pairs.viewAsComplex().mul(factors.unsqueeze(1));
  return rotated.viewAsReal().view(shape).to(dtype);
}

/**
 * Rows [heads · D, …] of a projection with the two halves of each head, which rotate together, laid
 * side by side as pairs. Done to queries and keys alike it leaves their products as they are.
 */
export function interleaved(rows: Tensor, headDim: number): Tensor {
  const { shape } = rows;
  return rows
    .view([-1, 2, headDim / 2, ...shape.slice(1)])
    .transpose(1, 2)
    .reshape(shape);
}

function attendPadded(queriesKeys: Tensor, values: Tensor, causal: boolean, mask?: Tensor): Tensor {
  const [numSegments, longest, heads, size] = queriesKeys.shape;
  const numKeyHeads = values.shape[2];
  const numHeads = heads - numKeyHeads;
  const [queries, keys] = queriesKeys.transpose(1, 2).splitWithSizes([numHeads, numKeyHeads], 1);
  const mixed = attention(queries, keys, values.transpose(1, 2), {
    isCausal: causal,
    mask,
  });
  return mixed.transpose(1, 2).reshape([numSegments * longest, numHeads * size]);
}

function pad(flat: Tensor, rows: Tensor, [numSegments, longest]: readonly number[]): Tensor {
  const [, heads, size] = flat.shape;
  return zeros([numSegments * longest, heads, size], { dtype: flat.dtype, device: flat.device })
    .indexCopy(0, rows, flat)
    .view([numSegments, longest, heads, size]);
}
