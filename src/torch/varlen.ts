/**
 * Attention of sequences that lie one after another in flat rows, without padding or masks: libtorch's
 * flash attention, for half precision on a GPU, and a plain form as its reference. Keys may lie anywhere
 * in their rows: each sequence says where its own begin and, where others lie behind them, how many
 * there are.
 * Legend: S sequences, N queries in all, M rows of keys, H query heads, KV key-value heads, D head size.
 */
import type { Device, DType } from "./dtype.ts";
import { attention } from "./nn.ts";
import { native } from "./native.ts";
import { cat, Tensor, zeros } from "./ops.ts";
import { noGrad, scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

/** Where sequences lie among rows. */
export interface Spans {
  /** Row that each begins at, and behind them the end of the last; int32 [S + 1]. */
  readonly starts: Tensor;
  /** Rows of each, int32 [S]; each up to the start of the next where absent. */
  readonly lengths?: Tensor;
  /** No sequence is longer than that. */
  readonly longest: number;
}

/** Which queries look at which keys, and whether at all of them. */
interface Spanned {
  readonly queries: Spans;
  readonly keys: Spans;
  readonly causal: boolean;
}

const flash = native.op("aten::_flash_attention_forward");
/** Largest head of flash attention; all are multiples of eight. */
const MAX_HEAD_SIZE = 256;
const found = new Map<string, boolean>();

/** Whether `varlenAttention` runs for tensors of this kind: tried out once. */
export function hasVarlen(dtype: DType, device: Device, headSize: number): boolean {
  const isHalf = dtype === "bfloat16" || dtype === "float16";
  if (device === "cpu" || !isHalf || headSize % 8 !== 0 || headSize > MAX_HEAD_SIZE) return false;
  const key = `${dtype} ${device}`;
  const known = found.get(key);
  if (known !== undefined) return known;
  const works = tryOut(dtype, device);
  found.set(key, works);
  return works;
}

/**
 * Softmax attention of each sequence's queries to its own keys, scaled by 1/√D. Causal: its last query
 * sees all of its keys, each one before it one key less.
 * @param query [N, H, D]; key, value [M, KV, D] with KV dividing H
 * @returns [N, H, D]
 */
export function varlenAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  { queries, keys, causal }: Spanned,
): Tensor {
  if (!hasVarlen(query.dtype, query.device, query.size(-1)))
    return plainVarlen(query, key, value, { queries, keys, causal });
  return flashVarlen(query, key, value, { queries, keys, causal });
}

function flashVarlen(query: Tensor, key: Tensor, value: Tensor, of: Spanned): Tensor {
  const { queries, keys, causal } = of;
  const results = native.call(
    flash,
    query.id,
    key.id,
    value.id,
    queries.starts.id,
    keys.starts.id,
    queries.longest,
    keys.longest,
    0,
    causal,
    false,
    undefined,
    undefined,
    undefined,
    ...(keys.lengths === undefined ? [] : [keys.lengths.id]),
  ) as number[];
  const [mixed] = results.map((id) => new Tensor(id));
  return mixed;
}

/** `varlenAttention` one sequence after another; exported as its reference. */
export function plainVarlen(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  { queries, keys, causal }: Spanned,
): Tensor {
  const from = queries.starts.toNumbers();
  const start = keys.starts.toNumbers();
  const lengths = keys.lengths?.toNumbers();
  const heads = (rows: Tensor, first: number, count: number): Tensor =>
    rows.narrow(0, first, count).transpose(0, 1).unsqueeze(0);
  const parts = from.slice(0, -1).map((first, s) => {
    const count = from[s + 1] - first;
    const held = lengths?.[s] ?? start[s + 1] - start[s];
    const mask = causal
      ? zeros([count, held], { dtype: "bool", device: query.device })
          .logicalNot()
          .tril(held - count)
      : undefined;
    const own = [key, value].map((rows) => heads(rows, start[s], held));
    return attention(heads(query, first, count), own[0], own[1], { mask })
      .select(0, 0)
      .transpose(0, 1);
  });
  return cat(parts, 0);
}

/** The spans of sequences that lie one behind the other, on a device. */
export function spansOf(lengths: readonly number[], device: Device): Spans {
  const starts = new Int32Array(lengths.length + 1);
  let longest = 0;
  for (const [s, length] of lengths.entries()) {
    starts[s + 1] = starts[s] + length;
    if (length > longest) longest = length;
  }
  return { starts: tensor(starts, { dtype: "int32", device }), longest };
}

/** An older GPU, or a libtorch without it, says so by an error. */
function tryOut(dtype: DType, device: Device): boolean {
  if (!(native.schema("aten::_flash_attention_forward") ?? "").includes("seqused_k")) return false;
  return noGrad(() =>
    scope(() => {
      const rows = zeros([2, 1, 8], { dtype, device });
      const spans = spansOf([2], device);
      try {
        return (
          flashVarlen(rows, rows, rows, { queries: spans, keys: spans, causal: true })
            .to("float32")
            .sum()
            .item() === 0
        );
      } catch {
        return false;
      }
    }),
  );
}
