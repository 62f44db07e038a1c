/**
 * The gated delta rule (Yang et al. 2024, arXiv:2412.06464): a memory S [K, V] a head that decays, and in
 * which each position overwrites what its key reads: S ← α S, then S ← S + k (β (v − Sᵀk))ᵀ; it gives Sᵀq.
 * Two forms: chunks of positions solved at once by a triangular system (arXiv:2406.06484, §3), with
 * gradients, whose sequences never meet; and one position of each of several memories. All in float32.
 * Legend: N flat rows, S sequences, M chunks, C positions of a chunk, H value heads, G key heads, K and V
 * sizes of their vectors.
 */
import { cat, ones, zeros, type Tensor } from "../torch/ops.ts";
import { tensor, type Device } from "../torch/tensor.ts";

/** C. */
export const CHUNK = 64;

/** How flat rows of sequences fall into chunks: those that begin a sequence first, then the next ones. */
export interface Chunks {
  readonly lengths: readonly number[];
  /** How many sequences have an i-th chunk. */
  readonly counts: readonly number[];
  /** Flat row of each position of the chunks, N where it is padding; int64 [M · C]. */
  readonly rows: Tensor;
  /** Where each flat row stands among them, int64 [N]; absent where they come in order. */
  readonly places?: Tensor;
  /** Sequences, longest first. */
  readonly order: readonly number[];
}

export function chunksOf(lengths: readonly number[], device: Device): Chunks {
  const chunksIn = (s: number): number => Math.ceil(lengths[s] / CHUNK);
  const order = [...lengths.keys()].sort((a, b) => chunksIn(b) - chunksIn(a) || a - b);
  const starts: number[] = [];
  let total = 0;
  for (const length of lengths) {
    starts.push(total);
    total += length;
  }
  const counts: number[] = [];
  const rows: number[] = [];
  const places = new Int32Array(total);
  for (let i = 0; i < chunksIn(order[0]); i++) {
    const going = order.filter((s) => chunksIn(s) > i);
    counts.push(going.length);
    for (const s of going)
      for (let t = i * CHUNK; t < (i + 1) * CHUNK; t++) {
        if (t < lengths[s]) places[starts[s] + t] = rows.length;
        rows.push(t < lengths[s] ? starts[s] + t : total);
      }
  }
  const int64 = (values: ArrayLike<number>): Tensor =>
    tensor(Int32Array.from(values), { dtype: "int64", device });
  const inOrder = lengths.length === 1;
  return {
    lengths,
    counts,
    rows: int64(rows),
    places: inOrder ? undefined : int64(places),
    order,
  };
}

/** What the rule reads of each of N positions. */
export interface DeltaInputs {
  /** Before they are normed, [N, G · K]. */
  readonly queries: Tensor;
  /** Before they are normed, [N, G · K]. */
  readonly keys: Tensor;
  /** [N, H · V]. */
  readonly values: Tensor;
  /** β, float32 [N, H]. */
  readonly rates: Tensor;
  /** log α, float32 [N, H]. */
  readonly decays: Tensor;
}

/** G, K. */
export interface KeyHeads {
  readonly numKeyHeads: number;
  readonly numValueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
}

/**
 * The rule over whole sequences.
 * @param memories of each sequence before it, [S, H, K, V]; empty where absent
 * @returns [N, H, V], and the memories after each sequence, both float32
 */
export function deltaRule(
  { queries, keys, values, rates, decays }: DeltaInputs,
  sizes: KeyHeads,
  chunks: Chunks,
  memories?: Tensor,
): { readonly mixed: Tensor; readonly memories: Tensor } {
  const { numKeyHeads, numValueHeads, keyDim, valueDim } = sizes;
  const { counts, order, places } = chunks;
  const { device } = values;
  const byChunk = (x: Tensor, heads: number): Tensor =>
    withPadding(x)
      .indexSelect(0, chunks.rows)
      .view([-1, CHUNK, heads, x.size(1) / heads])
      .transpose(1, 2)
      .to("float32")
      .contiguous();
  const repeated = (x: Tensor): Tensor => repeatHeads(x, numValueHeads / numKeyHeads);
  const q = repeated(unit(byChunk(queries, numKeyHeads)).mul(keyDim ** -0.5));
  const k = repeated(unit(byChunk(keys, numKeyHeads)));
  const v = byChunk(values, numValueHeads);
  const beta = byChunk(rates, numValueHeads);
  // Logarithms of what is left of the beginning of a chunk at each of its positions: [M, H, C].
  const left = byChunk(decays, numValueHeads).select(-1, 0).cumsum(-1);
  const later = ones([CHUNK, CHUNK], { dtype: "bool", device }).triu(1);
  const between = left.unsqueeze(-1).sub(left.unsqueeze(-2)).maskedFill(later, -Infinity).exp();
  const betaKeys = k.mul(beta);
  const system = betaKeys.matmul(k.transpose(-1, -2)).mul(between);
  const known = cat([v.mul(beta), betaKeys.mul(left.exp().unsqueeze(-1))], -1);
  const options = { upper: false, unitriangular: true };
  const [fresh, reads] = system
    .linalgSolveTriangular(known, options)
    .splitWithSizes([valueDim, keyDim], -1);
  const inside = q.matmul(k.transpose(-1, -2)).mul(between);
  const asks = q.mul(left.exp().unsqueeze(-1));
  const whole = left.narrow(-1, CHUNK - 1, 1);
  const writes = k.mul(whole.sub(left).exp().unsqueeze(-1)).transpose(-1, -2);
  const kept = whole.exp().unsqueeze(-1);

  let memory =
    memories === undefined
      ? zeros([order.length, numValueHeads, keyDim, valueDim], { device })
      : inOrder(memories, order);
  const outputs: Tensor[] = [];
  const finished: Tensor[] = [];
  let at = 0;
  for (const [i, count] of counts.entries()) {
    const own = (x: Tensor): Tensor => x.narrow(0, at, count);
    const written = own(fresh).sub(own(reads).matmul(memory));
    outputs.push(own(asks).matmul(memory).add(own(inside).matmul(written)));
    memory = memory.mul(own(kept)).add(own(writes).matmul(written));
    at += count;
    const going = counts[i + 1] ?? 0;
    if (going < count) finished.unshift(memory.narrow(0, going, count - going));
    if (going > 0 && going < count) memory = memory.narrow(0, 0, going);
  }
  const laid = joined(outputs).transpose(1, 2).flatten(0, 1);
  const mixed =
    places === undefined ? laid.narrow(0, 0, values.size(0)) : laid.indexSelect(0, places);
  return { mixed, memories: inOrder(joined(finished), inverse(order)) };
}

/**
 * The rule for one more position of each of N memories.
 * @param inputs `decays` are α itself here, [N, H]
 * @param memories [N, H, K, V]; overwritten by what they become
 * @returns [N, H, V]
 */
export function deltaStep_(
  { queries, keys, values, rates, decays }: DeltaInputs,
  { numKeyHeads, numValueHeads, keyDim, valueDim }: KeyHeads,
  memories: Tensor,
): Tensor {
  const numRows = values.size(0);
  const heads = (x: Tensor): Tensor =>
    repeatHeads(
      unit(x.view([numRows, numKeyHeads, 1, keyDim]).to("float32")),
      numValueHeads / numKeyHeads,
    );
  const k = heads(keys);
  const q = heads(queries).mul(keyDim ** -0.5);
  const alpha = decays.view([numRows, numValueHeads, 1, 1]);
  const beta = rates.view([numRows, numValueHeads, 1, 1]);
  const v = values.view([numRows, numValueHeads, 1, valueDim]).to("float32");
  // What key and query read of the old memory, in one product.
  const [keyReads, queryReads] = cat([k, q], 2).matmul(memories).mul(alpha).unbind(2);
  const written = v.sub(keyReads.unsqueeze(2)).mul(beta);
  const overlap = q.mul(k).sum([-1], true);
  memories.mul_(alpha).add_(k.transpose(-1, -2).mul(written));
  return queryReads.add(overlap.mul(written).select(2, 0));
}

/** Vectors of length one; nothing where they are nothing. */
function unit(x: Tensor): Tensor {
  return x.mul(x.mul(x).sum([-1], true).add(1e-6).rsqrt());
}

/** Heads [A, G, B, K], each so many times in a row: [A, G · times, B, K]. */
function repeatHeads(x: Tensor, times: number): Tensor {
  if (times === 1) return x;
  const [rows, heads, length, size] = x.shape;
  return x
    .unsqueeze(2)
    .expand([rows, heads, times, length, size])
    .reshape([rows, heads * times, length, size]);
}

/** Rows [N, W] and a row of zeros. */
function withPadding(x: Tensor): Tensor {
  const { dtype, device } = x;
  return cat([x, zeros([1, x.size(1)], { dtype, device })], 0);
}

function joined(parts: readonly Tensor[]): Tensor {
  return parts.length === 1 ? parts[0] : cat(parts, 0);
}

function inOrder(x: Tensor, order: readonly number[]): Tensor {
  if (order.every((from, to) => from === to)) return x;
  return x.indexSelect(0, tensor(Int32Array.from(order), { dtype: "int64", device: x.device }));
}

function inverse(order: readonly number[]): number[] {
  const back: number[] = [];
  for (const [to, from] of order.entries()) back[from] = to;
  return back;
}
