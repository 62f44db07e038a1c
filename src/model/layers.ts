/**
 * The pieces that towers and language models are put together from. A structure is built by one walk
 * over its parameters, each named with its shape: over the tensors of a model it gives the model, and
 * without any it gives the list of names and shapes.
 */
import { joinedLinear, layerNorm, linear, rmsNorm, swiglu } from "../torch/nn.ts";
import { cat, zeros, type Tensor } from "../torch/ops.ts";
import type { LowRank } from "./adapter.ts";
import { interleaved } from "./attention.ts";

export interface Take<T> {
  /** Gives what stands for the parameter of this name, which has this shape. */
  (name: string, shape: readonly number[]): T;
  /** Is told of every linear layer that an adapter may change. */
  linear?(module: string, layer: Linear<T>): void;
}

/** Weight and, where the published layer has one, bias of a linear layer. */
export interface Linear<T = Tensor> {
  readonly weight: T;
  readonly bias?: T;
  /** What an adapter adds, where there is one. */
  lowRank?: LowRank;
}

/** Gain of an RMS norm; with a bias, of a layer norm. */
export interface Norm<T = Tensor> {
  readonly weight: T;
  readonly bias?: T;
}

export function takeLinear<T>(
  take: Take<T>,
  name: string,
  [out, input]: readonly [out: number, input: number],
  hasBias: boolean,
): Linear<T> {
  const weight = take(`${name}.weight`, [out, input]);
  const layer: Linear<T> = hasBias ? { weight, bias: take(`${name}.bias`, [out]) } : { weight };
  take.linear?.(name, layer);
  return layer;
}

export function takeNorm<T>(take: Take<T>, name: string, width: number, hasBias: boolean): Norm<T> {
  const weight = take(`${name}.weight`, [width]);
  return hasBias ? { weight, bias: take(`${name}.bias`, [width]) } : { weight };
}

/** SwiGLU. */
export interface Mlp<T = Tensor> {
  readonly gate: Linear<T>;
  readonly up: Linear<T>;
  readonly down: Linear<T>;
}

export function takeMlp<T>(take: Take<T>, name: string, width: number, inner: number): Mlp<T> {
  return {
    gate: takeLinear(take, `${name}.gate_proj`, [inner, width], false),
    up: takeLinear(take, `${name}.up_proj`, [inner, width], false),
    down: takeLinear(take, `${name}.down_proj`, [width, inner], false),
  };
}

/** A SwiGLU of rows x [N, C]. */
export function mlpForward(x: Tensor, { gate, up, down }: Mlp): Tensor {
  return project(swiglu(projectJoined(x, [gate, up])), down);
}

/** What an RMS norm of a language model scales by, given its parameter. */
export function gainOf(
  weight: Tensor,
  { centredNorms }: { readonly centredNorms: boolean },
): Tensor {
  // In half precision the sum would lose most of a small weight.
  return centredNorms ? weight.to("float32").add(1) : weight;
}

/** Frees the matrices of layers that nobody will multiply with any more. */
export function giveUp(layers: readonly (Linear | undefined)[]): void {
  for (const layer of layers) layer?.weight.dispose();
}

/** Rows of x through a linear layer and its adapter. */
export function project(x: Tensor, layer: Linear): Tensor {
  const y = linear(x, layer.weight, layer.bias);
  const added = addition(x, layer);
  return added === undefined ? y : y.add(added);
}

/** How the first outputs of joined layers come: so many of them as heads of `size`, in pairs. */
export interface Pairing {
  readonly paired: number;
  readonly size: number;
}

/** Layers of one input, and their adapters, side by side: see `joinedLinear`. */
export function projectJoined(
  x: Tensor,
  layers: readonly Linear[],
  pairing: Pairing = { paired: 0, size: 0 },
): Tensor {
  const y = joinedLinear(x, layers, pairing);
  let before = 0;
  const parts = layers.map((layer) => {
    const width = layer.weight.size(0);
    const paired = Math.min(Math.max(pairing.paired - before, 0), width);
    before += width;
    return addition(x, layer, { ...pairing, paired });
  });
  if (parts.every((part) => part === undefined)) return y;
  const { dtype, device } = y;
  const added = parts.map(
    (part, i) => part ?? zeros([x.size(0), layers[i].weight.size(0)], { dtype, device }),
  );
  return y.add(added.length === 1 ? added[0] : cat(added, 1));
}

/** What the adapter of a layer adds for rows x; undefined where there is none, or it is off. */
function addition(x: Tensor, { lowRank }: Linear, pairing?: Pairing): Tensor | undefined {
  const factors = lowRank?.factors ?? null;
  if (lowRank === undefined || factors === null) return undefined;
  const inner = linear(lowRank.dropped(x), lowRank.down(factors, x.dtype));
  return linear(inner, pairFirst(lowRank.up(factors, x.dtype), pairing));
}

function pairFirst(rows: Tensor, { paired, size }: Pairing = { paired: 0, size: 0 }): Tensor {
  if (paired === 0) return rows;
  const rest = rows.size(0) - paired;
  const first = interleaved(rows.narrow(0, 0, paired), size);
  return rest === 0 ? first : cat([first, rows.narrow(0, paired, rest)], 0);
}

/** Rows of x normed: as a layer norm where there is a bias, else by their root mean square. */
export function normed(x: Tensor, { weight, bias }: Norm, eps: number): Tensor {
  return bias === undefined ? rmsNorm(x, weight, eps) : layerNorm(x, weight, bias, eps);
}

/** Numbers that libtorch's operators take at once, at most, of any processor. */
const LANES = 32;
/** Numbers that libtorch leaves to one thread. */
const ONE_THREAD = 32_768;

/**
 * What `fn` makes of rows [N, C], number by number, to the same bits whatever N is. On a CPU libtorch
 * computes the last few numbers of a tensor, or of a thread's part of it, by other instructions: here rows
 * are whole groups and each call is one thread's.
 */
export function aligned(x: Tensor, fn: (x: Tensor) => Tensor): Tensor {
  if (x.device !== "cpu") return fn(x);
  const [numRows, width] = x.shape;
  const whole = padded(x);
  const atOnce = Math.max(1, Math.floor(ONE_THREAD / whole.size(1)));
  const parts: Tensor[] = [];
  for (let start = 0; start < numRows; start += atOnce)
    parts.push(fn(whole.narrow(0, start, Math.min(atOnce, numRows - start))));
  return (parts.length === 1 ? parts[0] : cat(parts, 0)).narrow(1, 0, width);
}

/** Rows [N, C] filled up with zeros to whole groups. */
export function padded(x: Tensor): Tensor {
  const missing = (LANES - (x.size(1) % LANES)) % LANES;
  const { dtype, device } = x;
  return missing === 0 ? x : cat([x, zeros([x.size(0), missing], { dtype, device })], 1);
}
