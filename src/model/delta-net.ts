/**
 * A gated delta net, what some layers have in place of attention: queries, keys and values that look a few
 * positions back through a convolution of their own, the gated delta rule over them, and a norm with a
 * gate on what it gives. A sequence is carried on by the last rows that went into the convolution and by
 * the rule's memories.
 * Legend: N flat rows, S sequences, C hidden size, W convolved numbers of a row, T positions that the
 * convolution looks at, H value heads, K and V sizes of key and value vectors.
 */
import { rmsNorm, swiglu } from "../torch/nn.ts";
import { cat, conv1d, ones, zeros, type Tensor } from "../torch/ops.ts";
import { tensor, type Device } from "../torch/tensor.ts";
import { convolvedWidth, type DeltaConfig, type TextConfig } from "./config.ts";
import { chunksOf, deltaRule, deltaStep_, type Chunks, type DeltaInputs } from "./delta-rule.ts";
import { aligned, project, projectJoined, takeLinear, type Linear, type Take } from "./layers.ts";

export interface DeltaNet<T = Tensor> {
  /** Queries, keys and values, [W, C]. */
  readonly qkv: Linear<T>;
  /** Of the gates on the outputs, [H · V, C]. */
  readonly gate: Linear<T>;
  /** How much a position overwrites, [H, C]. */
  readonly rate: Linear<T>;
  /** How much is forgotten before it, [H, C]. */
  readonly decay: Linear<T>;
  /** [W, 1, T]. */
  readonly kernel: T;
  /** Logarithms of the heads' rates of forgetting, [H]. */
  readonly logForgetting: T;
  /** [H]. */
  readonly decayBias: T;
  /** [V]. */
  readonly norm: T;
  /** [C, H · V]. */
  readonly out: Linear<T>;
}

export function takeDeltaNet<T>(
  take: Take<T>,
  name: string,
  { hiddenSize }: TextConfig,
  delta: DeltaConfig,
): DeltaNet<T> {
  const { numValueHeads, valueDim, kernel } = delta;
  const width = convolvedWidth(delta);
  const into = (part: string, out: number): Linear<T> =>
    takeLinear(take, `${name}.in_proj_${part}`, [out, hiddenSize], false);
  return {
    qkv: into("qkv", width),
    gate: into("z", numValueHeads * valueDim),
    rate: into("b", numValueHeads),
    decay: into("a", numValueHeads),
    kernel: take(`${name}.conv1d.weight`, [width, 1, kernel]),
    logForgetting: take(`${name}.A_log`, [numValueHeads]),
    decayBias: take(`${name}.dt_bias`, [numValueHeads]),
    norm: take(`${name}.norm.weight`, [valueDim]),
    out: takeLinear(take, `${name}.out_proj`, [hiddenSize, numValueHeads * valueDim], false),
  };
}

/** The layers that read the net's input, in the order in which `mixFlat` and `mixStep` take what they give. */
export function deltaInputs<T>({ qkv, gate, rate, decay }: DeltaNet<T>): Linear<T>[] {
  return [qkv, gate, rate, decay];
}

/** How wide a row of what they give is. */
export function deltaInputWidth(delta: DeltaConfig): number {
  return deltaWidths(delta).reduce((sum, width) => sum + width, 0);
}

function deltaWidths(delta: DeltaConfig): [number, number, number, number] {
  const { numValueHeads: heads, valueDim } = delta;
  return [convolvedWidth(delta), heads * valueDim, heads, heads];
}

/** How sequences lie in flat rows, for their convolutions and their chunks. */
export interface DeltaLayout {
  readonly chunks: Chunks;
  /**
   * Where rows of N flat ones, and T − 1 that came before each sequence behind them, stand when each
   * sequence follows what came before it, int64; absent for one sequence.
   */
  readonly led?: Tensor;
  /** Which results of the convolution over these are the flat rows', int64 [N]. */
  readonly own?: Tensor;
  /** The last T − 1 of them of each sequence, int64 [S · (T − 1)]. */
  readonly tails?: Tensor;
}

export function deltaLayout(
  lengths: readonly number[],
  { kernel }: DeltaConfig,
  device: Device,
): DeltaLayout {
  const chunks = chunksOf(lengths, device);
  if (lengths.length === 1) return { chunks };
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const before = kernel - 1;
  const [led, own, tails]: number[][] = [[], [], []];
  let row = 0;
  for (const [s, length] of lengths.entries()) {
    for (let t = 0; t < before; t++) led.push(total + s * before + t);
    // The result for a row begins with the first that its convolution looks at.
    for (let t = 0; t < length; t++, row++) {
      own.push(led.length - before);
      led.push(row);
    }
    for (let t = before; t > 0; t--) tails.push(led.length - t);
  }
  const int64 = (values: readonly number[]): Tensor =>
    tensor(Int32Array.from(values), { dtype: "int64", device });
  return { chunks, led: int64(led), own: int64(own), tails: int64(tails) };
}

/** What a sequence is carried on by. */
export interface DeltaState {
  /** Rows that went into the convolution last, [S, T − 1, W]. */
  readonly rows: Tensor;
  /** float32 [S, H, K, V]. */
  readonly memories: Tensor;
}

/** A delta net on normed rows x [N, C] of whole sequences: [N, C] before the residual. */
export function deltaForward(
  net: DeltaNet,
  config: TextConfig,
  delta: DeltaConfig,
  x: Tensor,
  layout: DeltaLayout,
): Tensor {
  const { mixed } = mixFlat(net, config, delta, projectJoined(x, deltaInputs(net)), layout);
  return project(mixed, net.out);
}

/**
 * What comes before the output projection, of sequences.
 * @param inputs [N, width of `deltaInputs`]
 * @param state of each sequence before it; none where absent
 * @returns [N, H · V], and the states after it
 */
export function mixFlat(
  net: DeltaNet,
  { rmsNormEps }: TextConfig,
  delta: DeltaConfig,
  inputs: Tensor,
  layout: DeltaLayout,
  state?: DeltaState,
): { readonly mixed: Tensor; readonly state: DeltaState } {
  const [qkv, gate, rate, decay] = inputs.splitWithSizes(deltaWidths(delta), 1);
  const { numValueHeads: heads, valueDim, kernel } = delta;
  const { dtype, device } = inputs;
  const numSequences = layout.chunks.lengths.length;
  const width = qkv.size(1);
  const before =
    state?.rows.view([-1, width]) ?? zeros([numSequences * (kernel - 1), width], { dtype, device });
  const { led: order, own, tails } = layout;
  const led =
    order === undefined ? cat([before, qkv], 0) : cat([qkv, before], 0).indexSelect(0, order);
  const convolved = conv1d(led.t().unsqueeze(0), net.kernel, null, 1, 0, 1, width).select(0, 0).t();
  const active = (own === undefined ? convolved : convolved.indexSelect(0, own)).silu();
  const last =
    tails === undefined
      ? led.narrow(0, led.size(0) - (kernel - 1), kernel - 1)
      : led.indexSelect(0, tails);
  const { mixed, memories } = deltaRule(
    {
      ...apart(active, delta),
      rates: rate.to("float32").sigmoid(),
      decays: logDecays(net, decay),
    },
    delta,
    layout.chunks,
    state?.memories,
  );
  const normed = rmsNorm(mixed.contiguous(), net.norm.to("float32"), rmsNormEps);
  const gated = normed.mul(gate.unflatten(1, [heads, valueDim]).to("float32").silu());
  return {
    mixed: gated.flatten(1).to(dtype),
    state: { rows: last.view([numSequences, kernel - 1, width]), memories },
  };
}

/**
 * The same of one more position of each of N sequences. What it gives a row does not depend, to the bit, on
 * how many there are.
 * @param inputs [N, width of `deltaInputs`]
 * @param state of each; overwritten by what it becomes
 * @returns [N, H · V]
 */
export function mixStep_(
  net: DeltaNet,
  { rmsNormEps }: TextConfig,
  delta: DeltaConfig,
  inputs: Tensor,
  { rows, memories }: DeltaState,
): Tensor {
  const [qkv, gate, rate, decay] = inputs.splitWithSizes(deltaWidths(delta), 1);
  const { kernel } = delta;
  const { dtype } = inputs;
  const seen = cat([rows, qkv.unsqueeze(1)], 1);
  rows.copy_(seen.narrow(1, 1, kernel - 1));
  const taps = net.kernel.select(1, 0).to("float32").unbind(1);
  const wide = seen.to("float32").unbind(1);
  // Product by product and sum by sum, so that all rows are rounded alike.
  let convolved = wide[0].mul(taps[0]);
  for (let t = 1; t < kernel; t++) convolved = convolved.add(wide[t].mul(taps[t]));
  const active = silu(convolved);
  const mixed = deltaStep_(
    {
      ...apart(active, delta),
      rates: aligned(rate.to("float32"), (x) => x.sigmoid()),
      decays: aligned(logDecaysOf(net, decay), (x) => x.exp()),
    },
    delta,
    memories,
  );
  const normed = rmsNorm(mixed.contiguous(), net.norm.to("float32"), rmsNormEps).flatten(1);
  return swiglu(cat([gate.to("float32"), normed], 1)).to(dtype);
}

function apart(
  convolved: Tensor,
  { numKeyHeads, numValueHeads, keyDim, valueDim }: DeltaConfig,
): Pick<DeltaInputs, "queries" | "keys" | "values"> {
  const keys = numKeyHeads * keyDim;
  const sizes = [keys, keys, numValueHeads * valueDim];
  const [queries, own, values] = convolved.splitWithSizes(sizes, 1);
  return { queries, keys: own, values };
}

/** Logarithms of what positions leave of the memories, float32 [N, H]. */
function logDecays({ logForgetting, decayBias }: DeltaNet, decay: Tensor): Tensor {
  const rate = decay.to("float32").add(decayBias.to("float32")).softplus();
  return rate.mul(logForgetting.to("float32").exp()).neg();
}

/** As `logDecays`, of single positions. */
function logDecaysOf({ logForgetting, decayBias }: DeltaNet, decay: Tensor): Tensor {
  const rate = aligned(decay.to("float32").add(decayBias.to("float32")), (x) => x.softplus());
  return rate.mul(logForgetting.to("float32").exp()).neg();
}

/** x · σ(x), where the swish of a gate is computed row by row. */
function silu(x: Tensor): Tensor {
  const { shape, dtype, device } = x;
  return swiglu(cat([x, ones(shape, { dtype, device })], 1));
}
