/**
 * Muon (Jordan et al. 2024): momentum whose matrices are orthogonalised by five Newton–Schulz steps
 * before they are applied; AdamW for everything else (embeddings, norms, biases, heads). Matrices of
 * one shape run in one batched call. The iteration is in float32 (differs: the published code uses
 * bfloat16, which is slow on CPUs); the update has AdamW's size, 0.2·√max(rows, columns) (Moonshot
 * 2025), so that one learning rate serves both.
 */
import { VigorlError } from "../core/errors.ts";
import {
  AdamW,
  masterOf,
  refuseDuplicates,
  stateTensor,
  type AdamWOptions,
  type Optimizer,
  type ParameterGroup,
} from "./optim.ts";
import { foreachAdd_, foreachMulScalar_, stack, type Tensor } from "./ops.ts";
import { noGrad, scope } from "./scope.ts";

export interface MuonOptions {
  momentum?: number;
  /** Decoupled weight decay of the matrices. Default 0.1. */
  weightDecay?: number;
  newtonSchulzSteps?: number;
  adamw?: AdamWOptions;
}

export interface MuonParameters {
  /** Matrices [rows, columns]; more dimensions count as columns. */
  matrices: ReadonlyMap<string, Tensor>;
  rest: readonly ParameterGroup[];
}

interface Slot {
  name: string;
  parameter: Tensor;
  momentum: Tensor; // float32, [rows, columns]
  master: Tensor | null;
}

export class Muon implements Optimizer {
  private readonly slots: Slot[];
  private readonly adamw: AdamW;
  private readonly options: Required<Omit<MuonOptions, "adamw">>;

  constructor(parameters: MuonParameters, options: MuonOptions = {}) {
    const { momentum = 0.95, weightDecay = 0.1, newtonSchulzSteps = 5, adamw = {} } = options;
    this.options = { momentum, weightDecay, newtonSchulzSteps };
    const rest = parameters.rest.flatMap((group) => [...group.parameters.keys()]);
    refuseDuplicates([...parameters.matrices.keys(), ...rest]);
    this.slots = [...parameters.matrices].map(([name, parameter]) => newSlot(name, parameter));
    this.adamw = new AdamW(parameters.rest, adamw);
  }

  step(learningRate: number): void {
    noGrad(() => {
      for (const slots of byShape(this.slots)) {
        scope(() => this.stepSlots(slots, learningRate));
      }
    });
    this.adamw.step(learningRate);
  }

  zeroGrad(): void {
    for (const { parameter } of this.slots) parameter.zeroGrad();
    this.adamw.zeroGrad();
  }

  state(): Map<string, Tensor> {
    const state = this.adamw.state();
    for (const { name, momentum, master } of this.slots) {
      state.set(`${name}.momentum`, momentum);
      if (master !== null) state.set(`${name}.master`, master);
    }
    return state;
  }

  loadState(state: ReadonlyMap<string, Tensor>): void {
    noGrad(() => {
      for (const { name, momentum, master } of this.slots) {
        momentum.copy_(stateTensor(state, `${name}.momentum`, momentum));
        if (master !== null) master.copy_(stateTensor(state, `${name}.master`, master));
      }
    });
    this.adamw.loadState(state);
  }

  dispose(): void {
    for (const { momentum, master } of this.slots) {
      momentum.dispose();
      master?.dispose();
    }
    this.adamw.dispose();
  }

  private stepSlots(all: readonly Slot[], learningRate: number): void {
    const { momentum, weightDecay, newtonSchulzSteps } = this.options;
    const slots = all.filter(({ parameter }) => parameter.grad !== null);
    if (slots.length === 0) return;
    const gradients = slots.map(({ parameter, momentum: buffer }) =>
      parameter.grad!.to("float32").reshape(buffer.shape),
    );
    const buffers = slots.map((slot) => slot.momentum);
    foreachMulScalar_(buffers, momentum);
    foreachAdd_(buffers, gradients, { alpha: 1 - momentum });
    const nesterov = stack(gradients)
      .mul(1 - momentum)
      .add(stack(buffers), { alpha: momentum });
    const [rows, columns] = buffers[0]!.shape as [number, number];
    const updates = orthogonalize(nesterov, newtonSchulzSteps).unbind(0);
    const weights = slots.map(({ parameter, master }) => master ?? parameter.detach());
    if (weightDecay !== 0) foreachMulScalar_(weights, 1 - learningRate * weightDecay);
    foreachAdd_(
      weights,
      updates.map((update, i) => update.reshape(weights[i]!.shape)),
      { alpha: -learningRate * 0.2 * Math.sqrt(Math.max(rows, columns)) },
    );
    for (const { parameter, master } of slots) if (master !== null) parameter.copy_(master);
  }
}

/**
 * Pushes the singular values of matrices [batch, rows, columns] towards 1 (roughly 0.7 to 1.2) with
 * the quintic Newton–Schulz iteration, coefficients as published.
 */
export function orthogonalize(matrices: Tensor, steps: number): Tensor {
  const [a, b, c] = [3.4445, -4.775, 2.0315];
  const tall = matrices.size(-2) > matrices.size(-1);
  let x = tall ? matrices.transpose(-2, -1) : matrices;
  x = x.div(x.linalgVectorNorm(2, [-2, -1], true).clampMin(1e-7));
  for (let i = 0; i < steps; i++) {
    const gram = x.matmul(x.transpose(-2, -1));
    const polynomial = gram.mul(b).add(gram.matmul(gram), { alpha: c });
    x = x.mul(a).add(polynomial.matmul(x));
  }
  return tall ? x.transpose(-2, -1) : x;
}

function newSlot(name: string, parameter: Tensor): Slot {
  if (parameter.ndim < 2) {
    throw new VigorlError("usage", `Muon: ${name} is ${parameter.describe()}, not a matrix`, {
      hint: "give vectors to AdamW: put the parameter into `rest`",
    });
  }
  const master = masterOf(parameter);
  const shape = [parameter.size(0), parameter.numel / parameter.size(0)];
  const momentum = scope(() => (master ?? parameter.detach()).reshape(shape).zerosLike().keep());
  return { name, parameter, momentum, master };
}

/** Slots whose matrices can run in one batched call. */
function byShape(slots: readonly Slot[]): Slot[][] {
  const groups = new Map<string, Slot[]>();
  for (const slot of slots) {
    const key = `${slot.momentum.shape.join("x")} ${slot.momentum.device}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [slot]);
    else group.push(slot);
  }
  return [...groups.values()];
}
