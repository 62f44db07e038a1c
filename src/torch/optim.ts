/**
 * AdamW (Loshchilov & Hutter 2019) over named parameters, in a handful of calls whatever their
 * number: libtorch's fused kernel where it has one, list operators elsewhere. Parameters in float16
 * or bfloat16 are stepped through float32 copies. The state is a map of named tensors, so that a run
 * resumes exactly. Left out: AMSGrad and maximisation.
 */
import { VigorlError } from "../core/errors.ts";
import { hasOp } from "./native.ts";
import {
  foreachAdd_,
  foreachAddcdivScalars_,
  foreachAddcmul_,
  foreachAddScalar_,
  foreachDivScalars_,
  foreachMulScalar_,
  foreachNorm,
  foreachSqrt,
  full,
  fusedAdamw_,
  stack,
  type Tensor,
} from "./ops.ts";
import { noGrad, scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

export interface ParameterGroup {
  parameters: ReadonlyMap<string, Tensor>;
  /** Decoupled weight decay of this group; the optimizer's own where absent. */
  weightDecay?: number;
  /** Multiplies the rate of every step. Default 1. */
  learningRateScale?: number;
}

export interface AdamWOptions {
  betas?: readonly [number, number];
  eps?: number;
  weightDecay?: number;
}

/** Where the gradient of a parameter is; of the parameter's own dtype or float32. */
export type GradientOf = (parameter: Tensor) => Tensor | null;

const ownGradient: GradientOf = (parameter) => parameter.grad;

/** What training loops need of an optimizer. */
export interface Optimizer {
  /** Updates the parameters that have a gradient. */
  step(learningRate: number, gradientOf?: GradientOf): void;
  /** Drops all gradients. */
  zeroGrad(): void;
  /** The state by name: handles on the optimizer's own tensors, not to be disposed of. */
  state(): Map<string, Tensor>;
  /** Puts a saved state back. Throws when names or shapes do not fit. */
  loadState(state: ReadonlyMap<string, Tensor>): void;
  dispose(): void;
}

interface Slot {
  name: string;
  parameter: Tensor;
  mean: Tensor; // first moment, float32
  square: Tensor; // second moment, float32
  master: Tensor | null; // float32 copy of a half-precision parameter
  steps: number;
  savedSteps: Tensor; // `steps` as the state names it, int64 [1]
}

const hasFused = hasOp("aten::_fused_adamw_");

export class AdamW implements Optimizer {
  private readonly groups: { slots: Slot[]; weightDecay: number; scale: number }[];
  private readonly betas: readonly [number, number];
  private readonly eps: number;
  private readonly fused: boolean;

  /** `fused: false` takes the list operators even where libtorch has the fused kernel. */
  constructor(groups: readonly ParameterGroup[], options: AdamWOptions & { fused?: boolean } = {}) {
    const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01, fused = true } = options;
    this.betas = betas;
    this.eps = eps;
    this.fused = fused && hasFused;
    refuseDuplicates(groups.flatMap((group) => [...group.parameters.keys()]));
    this.groups = groups.map((group) => ({
      slots: [...group.parameters].map(([name, parameter]) => newSlot(name, parameter)),
      weightDecay: group.weightDecay ?? weightDecay,
      scale: group.learningRateScale ?? 1,
    }));
  }

  step(learningRate: number, gradientOf: GradientOf = ownGradient): void {
    noGrad(() => {
      for (const { slots, weightDecay, scale } of this.groups) {
        for (const sameDevice of byDevice(slots)) {
          scope(() => this.stepSlots(sameDevice, learningRate * scale, weightDecay, gradientOf));
        }
      }
    });
  }

  zeroGrad(): void {
    for (const { parameter } of this.slots()) parameter.zeroGrad();
  }

  state(): Map<string, Tensor> {
    const state = new Map<string, Tensor>();
    for (const { name, mean, square, master, steps, savedSteps } of this.slots()) {
      state.set(`${name}.mean`, mean);
      state.set(`${name}.square`, square);
      if (master !== null) state.set(`${name}.master`, master);
      state.set(`${name}.steps`, savedSteps.fill_(steps));
    }
    return state;
  }

  loadState(state: ReadonlyMap<string, Tensor>): void {
    noGrad(() => {
      for (const slot of this.slots()) {
        slot.mean.copy_(stateTensor(state, `${slot.name}.mean`, slot.mean));
        slot.square.copy_(stateTensor(state, `${slot.name}.square`, slot.square));
        if (slot.master !== null) {
          slot.master.copy_(stateTensor(state, `${slot.name}.master`, slot.master));
        }
        slot.steps = stateTensor(state, `${slot.name}.steps`).item();
      }
    });
  }

  dispose(): void {
    for (const { mean, square, master, savedSteps } of this.slots()) {
      for (const owned of [mean, square, master, savedSteps]) owned?.dispose();
    }
  }

  private slots(): Slot[] {
    return this.groups.flatMap((group) => group.slots);
  }

  private stepSlots(
    all: readonly Slot[],
    learningRate: number,
    weightDecay: number,
    gradientOf: GradientOf,
  ): void {
    const slots: Slot[] = [];
    const gradients: Tensor[] = [];
    for (const slot of all) {
      const gradient = gradientOf(slot.parameter);
      if (gradient === null) continue;
      slots.push(slot);
      gradients.push(slot.master === null ? gradient : gradient.to("float32"));
      slot.steps++;
    }
    if (slots.length === 0) return;
    const weights = slots.map((slot) => slot.master ?? slot.parameter);
    if (this.fused) this.stepFused(slots, weights, gradients, learningRate, weightDecay);
    else this.stepForeach(slots, weights, gradients, learningRate, weightDecay);
    for (const { parameter, master } of slots) if (master !== null) parameter.copy_(master);
  }

  private stepFused(
    slots: readonly Slot[],
    weights: Tensor[],
    gradients: Tensor[],
    lr: number,
    weightDecay: number,
  ): void {
    const [beta1, beta2] = this.betas;
    const steps = new Map<number, Tensor>();
    const { device } = weights[0]!;
    for (const slot of slots) {
      if (!steps.has(slot.steps)) steps.set(slot.steps, full([], slot.steps, { device }));
    }
    fusedAdamw_(
      weights,
      gradients,
      slots.map((slot) => slot.mean),
      slots.map((slot) => slot.square),
      [],
      slots.map((slot) => steps.get(slot.steps)!),
      { lr, beta1, beta2, weightDecay, eps: this.eps, amsgrad: false, maximize: false },
    );
  }

  private stepForeach(
    slots: readonly Slot[],
    weights: Tensor[],
    gradients: Tensor[],
    lr: number,
    weightDecay: number,
  ): void {
    const [beta1, beta2] = this.betas;
    const means = slots.map((slot) => slot.mean);
    const squares = slots.map((slot) => slot.square);
    if (weightDecay !== 0) foreachMulScalar_(weights, 1 - lr * weightDecay);
    foreachMulScalar_(means, beta1);
    foreachAdd_(means, gradients, { alpha: 1 - beta1 });
    foreachMulScalar_(squares, beta2);
    foreachAddcmul_(squares, gradients, gradients, 1 - beta2);
    const denominators = foreachSqrt(squares);
    foreachDivScalars_(
      denominators,
      slots.map((slot) => Math.sqrt(1 - beta2 ** slot.steps)),
    );
    foreachAddScalar_(denominators, this.eps);
    foreachAddcdivScalars_(
      weights,
      means,
      denominators,
      slots.map((slot) => -lr / (1 - beta1 ** slot.steps)),
    );
  }
}

/**
 * Scales all gradients so that their global L2 norm is at most `maxNorm`, as PyTorch does, and
 * returns the norm from before (one wait for the device). A norm that is not finite is returned and
 * nothing is scaled: the caller skips the step.
 */
export function clipGradNorm(
  parameters: Iterable<Tensor>,
  maxNorm: number,
  gradientOf: GradientOf = ownGradient,
): number {
  return noGrad(() =>
    scope(() => {
      const gradients: Tensor[] = [];
      for (const parameter of parameters) {
        const gradient = gradientOf(parameter);
        if (gradient !== null) gradients.push(gradient);
      }
      if (gradients.length === 0) return 0;
      const norm = globalNorm(gradients);
      if (Number.isFinite(norm) && norm > maxNorm) {
        for (const part of byDtype(gradients)) foreachMulScalar_(part, maxNorm / (norm + 1e-6));
      }
      return norm;
    }),
  );
}

/** Throws when a name comes twice. */
export function refuseDuplicates(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) throw new VigorlError("usage", `optimizer: parameter ${name} comes twice`);
    seen.add(name);
  }
}

/** A tensor of a saved state; throws where it is missing or of another shape than `like`. */
export function stateTensor(
  state: ReadonlyMap<string, Tensor>,
  name: string,
  like?: Tensor,
): Tensor {
  const found = state.get(name);
  if (found === undefined) {
    throw new VigorlError("input", `optimizer state: ${name} is missing`, {
      hint: "resume with the recipe and the model that the checkpoint was made with",
    });
  }
  if (like !== undefined && found.shape.join() !== like.shape.join()) {
    throw new VigorlError(
      "input",
      `optimizer state: ${name} is [${found.shape.join(",")}], must be [${like.shape.join(",")}]`,
    );
  }
  return found;
}

/** A float32 copy to step on where the parameter has half precision, else null. */
export function masterOf(parameter: Tensor): Tensor | null {
  if (parameter.dtype !== "bfloat16" && parameter.dtype !== "float16") return null;
  return scope(() => parameter.detach().to("float32").keep());
}

function newSlot(name: string, parameter: Tensor): Slot {
  const master = masterOf(parameter);
  const weight = master ?? parameter;
  const zeros = () => scope(() => weight.detach().zerosLike().keep());
  const savedSteps = tensor([0], { dtype: "int64" }).keep();
  return { name, parameter, mean: zeros(), square: zeros(), master, steps: 0, savedSteps };
}

function globalNorm(gradients: readonly Tensor[]): number {
  const norms: Tensor[] = [];
  for (const part of byDtype(gradients)) {
    if (part[0]!.dtype === "float32") norms.push(...foreachNorm(part));
    else
      for (const gradient of part) {
        norms.push(gradient.linalgVectorNorm(2, null, false, { dtype: "float32" }));
      }
  }
  const device = norms[0]!.device;
  return stack(norms.map((norm) => (norm.device === device ? norm : norm.to(device))))
    .linalgVectorNorm()
    .item();
}

function byDevice(slots: readonly Slot[]): Slot[][] {
  return groupBy(slots, (slot) => slot.parameter.device);
}

function byDtype(tensors: readonly Tensor[]): Tensor[][] {
  return groupBy(tensors, (t) => `${t.dtype} ${t.device}`);
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
