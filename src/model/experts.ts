/**
 * A mixture of experts in place of an MLP: a router sends every position to a few of many SwiGLUs and
 * weighs what comes back. Two forms: by expert, each given the rows that chose it, which asks the host
 * who that is; and all experts for all rows, whose operators are the same whatever is chosen, for steps
 * from a tape.
 * Legend: N rows, C hidden size, E experts, A active ones a row, I width of an expert.
 */
import { linear, swiglu } from "../torch/nn.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { tensor } from "../torch/tensor.ts";
import type { ExpertsConfig, TextConfig } from "./config.ts";
import {
  mlpForward,
  project,
  takeLinear,
  takeMlp,
  type Linear,
  type Mlp,
  type Take,
} from "./layers.ts";

export interface Experts<T = Tensor> {
  /** [E, C]. */
  readonly router: T;
  /** Gates, then ups: [E, 2 I, C]. */
  readonly gateUp: T;
  /** [E, C, I]. */
  readonly down: T;
  /** Works on every position. */
  readonly shared?: SharedExpert<T>;
}

export interface SharedExpert<T = Tensor> {
  readonly mlp: Mlp<T>;
  /** To one number a row, whose sigmoid scales what it gives. */
  readonly gate: Linear<T>;
}

/** Who works on which row. */
export interface Routing {
  /** Of each of its experts in the sum, [N, A]. */
  readonly weights: Tensor;
  /** int64 [N, A]. */
  readonly chosen: Tensor;
}

export function takeExperts<T>(
  take: Take<T>,
  name: string,
  { hiddenSize }: TextConfig,
  { count, intermediateSize, sharedIntermediateSize: inner }: ExpertsConfig,
): Experts<T> {
  const shared = (width: number): SharedExpert<T> => ({
    mlp: takeMlp(take, `${name}.shared_expert`, hiddenSize, width),
    gate: takeLinear(take, `${name}.shared_expert_gate`, [1, hiddenSize], false),
  });
  return {
    router: take(`${name}.gate.weight`, [count, hiddenSize]),
    gateUp: take(`${name}.experts.gate_up_proj`, [count, 2 * intermediateSize, hiddenSize]),
    down: take(`${name}.experts.down_proj`, [count, hiddenSize, intermediateSize]),
    shared: inner === undefined ? undefined : shared(inner),
  };
}

/** What the experts' sum [N, C] and the shared expert of rows x [N, C], where there is one, come to. */
export function withShared(sum: Tensor, x: Tensor, { shared }: Experts): Tensor {
  if (shared === undefined) return sum;
  return sum.add(mlpForward(x, shared.mlp).mul(project(x, shared.gate).sigmoid()));
}

/** The likeliest experts of each row, and their shares among themselves; from logits [N, E]. */
export function route(logits: Tensor, active: number): Routing {
  const [shares, chosen] = logits.softmax(-1, "float32").topk(active, -1);
  return { weights: shares.div(shares.sum([-1], true)).to(logits.dtype), chosen };
}

/**
 * The weighted sum of what the chosen experts make of rows x [N, C].
 * @param run an expert at some rows, [n, C] to [n, C]
 */
export function mixture(
  x: Tensor,
  { weights, chosen }: Routing,
  run: (expert: number, rows: Tensor) => Tensor,
): Tensor {
  const [numRows, active] = chosen.shape;
  const places = placesByExpert(chosen.toNumbers());
  const order = [...places.values()].flat();
  const int64 = (values: readonly number[]): Tensor =>
    tensor(Int32Array.from(values), { dtype: "int64", device: x.device });
  const parts = [...places].map(([expert, own]) =>
    run(expert, x.indexSelect(0, int64(own.map((place) => Math.trunc(place / active))))),
  );
  const back = new Int32Array(order.length);
  for (const [i, place] of order.entries()) back[place] = i;
  return cat(parts, 0)
    .indexSelect(0, int64([...back]))
    .view([numRows, active, -1])
    .mul(weights.unsqueeze(-1))
    .sum([1]);
}

/** The experts of a layer as `mixture` runs them. */
export function expertRunner({ gateUp, down }: Experts): (expert: number, rows: Tensor) => Tensor {
  // Unbound at once: their gradients come back as one stack.
  const [wide, narrow] = [gateUp.unbind(0), down.unbind(0)];
  return (expert, rows) => linear(swiglu(linear(rows, wide[expert])), narrow[expert]);
}

/** As `mixture`, by running all experts on all rows. */
export function everyExpert(
  x: Tensor,
  { weights, chosen }: Routing,
  { gateUp, down }: Experts,
): Tensor {
  const [count] = gateUp.shape;
  const [numRows, width] = x.shape;
  const [, active] = chosen.shape;
  const inner = swiglu(x.expand([count, numRows, width]).bmm(gateUp.transpose(1, 2)));
  const outer = inner.bmm(down.transpose(1, 2)).transpose(0, 1);
  const places = chosen.unsqueeze(-1).expand([numRows, active, width]);
  return outer.gather(1, places).mul(weights.unsqueeze(-1)).sum([1]);
}

/** Flat places n · A + a of the rows' choices, by expert in ascending order. */
function placesByExpert(chosen: readonly number[]): Map<number, number[]> {
  const places = new Map<number, number[]>();
  for (const [place, expert] of chosen.entries()) {
    const own = places.get(expert);
    if (own === undefined) places.set(expert, [place]);
    else own.push(place);
  }
  return new Map([...places].sort(([a], [b]) => a - b));
}
