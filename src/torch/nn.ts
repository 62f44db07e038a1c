/**
 * Layers as functions of tensors: what the models call, with one path for libtorch 2.x and a plain
 * one where an operator is newer than 1.13. No modules and no state: parameters are arguments.
 * Legend: B batch, H query heads, KV key-value heads, T queries, S keys, D head size.
 */
import { hasGpuKernels } from "./gpu-kernels.ts";
import { hasKernels, kernels } from "./kernels.ts";
import { hasOp, native } from "./native.ts";
import {
  cat,
  layerNorm as atenLayerNorm,
  linear as atenLinear,
  rmsNorm as atenRmsNorm,
  ones,
  scaledDotProductAttention,
  Tensor,
} from "./ops.ts";
import { noGrad, scope } from "./scope.ts";

export interface AttentionOptions {
  /** Broadcasts to [B, H, T, S]: boolean (true may look) or added to the scores. */
  mask?: Tensor;
  /** Query t looks at keys 0…t (aligned at the start, as in PyTorch). Not together with a mask. */
  isCausal?: boolean;
  /** Default 1/√D. */
  scale?: number;
}

export interface CrossEntropyOptions {
  /** Rows with this target count for nothing. Default -100. */
  ignoreIndex?: number;
  reduction?: "none" | "mean" | "sum";
}

const joined = native.op("vigorl::joined_linear");
const hasRmsNorm = hasOp("aten::rms_norm");
const reductionCodes = { none: 0, mean: 1, sum: 2 } as const;

/** x [..., in] times weight [out, in] transposed, plus bias [out]. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  return atenLinear(x, weight, bias);
}

/** Weight [out, in] and bias [out] of one of several linear layers that share their input. */
export interface JoinedPart {
  readonly weight: Tensor;
  readonly bias?: Tensor;
}

/**
 * Linear layers of x [N, in] as one product, their outputs side by side: [N, Σ out]. The joined matrix
 * is not kept for the backward pass but made again there. All parts have a bias, or none.
 * @param paired so many of the first outputs are heads of `size`, whose two halves come out side by side
 *   as pairs
 */
export function joinedLinear(
  x: Tensor,
  parts: readonly JoinedPart[],
  { paired, size }: { readonly paired: number; readonly size: number } = { paired: 0, size: 0 },
): Tensor {
  const weights = parts.map(({ weight }) => weight.id);
  const biases = parts.flatMap(({ bias }) => (bias === undefined ? [] : [bias.id]));
  return new Tensor(native.call(joined, x.id, weights, biases, paired, size) as number);
}

/**
 * The same matrices as views of one, in which they lie one below another, so that `whole` of the first is
 * all of them. Copies them; for tensors without gradients.
 */
export function layTogether(parts: readonly Tensor[]): Tensor[] {
  return noGrad(() =>
    scope(() => {
      const sizes = parts.map((part) => part.size(0));
      return cat([...parts], 0)
        .splitWithSizes(sizes, 0)
        .map((part) => part.detach());
    }),
  );
}

/** The first `numRows` rows from a matrix on, of which it is the first part: see `layTogether`. */
export function whole(first: Tensor, numRows: number): Tensor {
  const width = first.size(1);
  return noGrad(() => first.detach().asStrided([numRows, width], [width, 1]));
}

/** Divides by the root mean square over the last dimension, in float32, and scales by `weight`. */
export function rmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
  if (hasKernels(x)) return kernels.rmsNorm(x, weight, eps);
  if (!hasRmsNorm || weight.dtype !== x.dtype) return plainRmsNorm(x, weight, eps);
  return atenRmsNorm(x, weight.shape, weight, eps);
}

/** silu(gate) · up, where the last dimension of `x` holds all gates and then all ups. */
export function swiglu(x: Tensor): Tensor {
  const isOurs = hasKernels(x) || (hasGpuKernels(x) && x.size(-1) % 16 === 0);
  return isOurs ? kernels.swiglu(x) : plainSwiglu(x);
}

export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor | null, eps = 1e-5): Tensor {
  return atenLayerNorm(x, weight.shape, weight, bias, eps);
}

/**
 * Softmax attention. Queries [B, H, T, D], keys and values [B, KV, S, D] with KV dividing H.
 * @returns [B, H, T, D]
 */
export type Attention = (
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options?: AttentionOptions,
) => Tensor;

/** Attention as the libtorch at hand has it. */
export const attention = attentionBy(native.schema("aten::scaled_dot_product_attention"));

/**
 * Attention by libtorch's operator, whose arguments grew over several versions: it is given what its
 * schema names, and left alone where it lacks the scale or is not there (null).
 */
export function attentionBy(schema: string | null): Attention {
  if (schema === null || !schema.includes(" scale")) return plainAttention;
  const sharesKeys = schema.includes(" enable_gqa");
  return (query, key, value, { mask = null, isCausal = false, scale } = {}) => {
    if (query.size(1) === key.size(1))
      return scaledDotProductAttention(query, key, value, mask, 0, isCausal, { scale });
    if (sharesKeys) {
      const options = { scale, enableGqa: true };
      return scaledDotProductAttention(query, key, value, mask, 0, isCausal, options);
    }
    const [keys, values] = [key, value].map((heads) => repeated(heads, query.size(1)));
    return scaledDotProductAttention(query, keys, values, mask, 0, isCausal, { scale });
  };
}

/** Cross entropy of logits [N, V] against class indices [N] (int64). Mean over the counted rows. */
export function crossEntropy(
  logits: Tensor,
  targets: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  const { ignoreIndex = -100, reduction = "mean" } = options;
  return logits.crossEntropyLoss(targets, null, reductionCodes[reduction], ignoreIndex);
}

/** RMS norm in elementary operators; exported as the reference of the fused one. */
export function plainRmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
  const wide = x.to("float32");
  const scale = wide.mul(wide).mean([-1], true).add(eps).rsqrt();
  return wide.mul(scale).mul(weight.to("float32")).to(x.dtype);
}

/** SwiGLU in elementary operators; exported as the reference of the fused one. */
export function plainSwiglu(x: Tensor): Tensor {
  const [gate, up] = x.chunk(2, -1);
  return gate.silu().mul(up);
}

/** Most scores that attention in elementary operators holds at once: a quarter of a GiB in float32. */
const MAX_SCORES = 2 ** 26;

/**
 * Attention in elementary operators; exported as the reference of the fused one. Where all scores would
 * be more than `maxScores`, some queries after others, each of which needs no other.
 */
export function plainAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions = {},
  maxScores = MAX_SCORES,
): Tensor {
  const [keys, values] = [key, value].map((heads) => repeated(heads, query.size(1)));
  const [batch, heads, length] = query.shape;
  const atOnce = Math.max(1, Math.floor(maxScores / (batch * heads * key.size(-2))));
  if (length <= atOnce) return attendFrom(0, query, keys, values, options);
  const { mask } = options;
  const parts: Tensor[] = [];
  for (let start = 0; start < length; start += atOnce) {
    const count = Math.min(atOnce, length - start);
    const own = mask !== undefined && mask.size(-2) > 1 ? mask.narrow(-2, start, count) : mask;
    const some = query.narrow(-2, start, count);
    parts.push(scope(() => attendFrom(start, some, keys, values, { ...options, mask: own })));
  }
  return cat(parts, -2);
}

/** `plainAttention` of queries that come after `start` others. */
function attendFrom(
  start: number,
  query: Tensor,
  keys: Tensor,
  values: Tensor,
  { mask, isCausal = false, scale = 1 / Math.sqrt(query.size(-1)) }: AttentionOptions,
): Tensor {
  let scores = query.mul(scale).matmul(keys.transpose(-2, -1));
  if (isCausal) {
    const size = [query.size(-2), keys.size(-2)];
    const allowed = ones(size, { dtype: "bool", device: query.device }).tril(start);
    scores = scores.maskedFill(allowed.logicalNot(), -Infinity);
  }
  if (mask !== undefined) {
    scores =
      mask.dtype === "bool"
        ? scores.maskedFill(mask.logicalNot(), -Infinity)
        : scores.add(mask.to(scores.dtype));
  }
  return scores.softmax(-1, "float32").to(values.dtype).matmul(values);
}

/** Key or value heads [B, KV, S, D], each as often as it has queries: [B, numHeads, S, D]. */
function repeated(heads: Tensor, numHeads: number): Tensor {
  const repeats = numHeads / heads.size(1);
  return repeats === 1 ? heads : heads.repeatInterleave(repeats, 1);
}
