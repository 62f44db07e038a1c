/**
 * AdamW (Loshchilov & Hutter 2019) over named parameters, in a handful of calls for many small ones, and
 * piece by piece for large ones, so that a step needs no memory worth mentioning: libtorch's fused kernel
 * where it has one, list operators elsewhere. Parameters in float16 or bfloat16 are stepped through float32
 * copies, unless the form of the state says otherwise. The state is a map of named tensors, so that a run
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
import {
  storedMoment,
  storedWeight,
  wholeState,
  type StateForm,
  type Stored,
} from "./optim-state.ts";
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
  /** Of what is remembered. Default all in float32, on the device. */
  form?: StateForm;
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
  mean: Stored; // first moment
  square: Stored; // second moment
  weight: Stored;
  steps: number;
  savedSteps: Tensor; // `steps` as the state names it, int64 [1]
}

/** Part of a parameter in one call of a kernel: float32, flat. */
interface Piece {
  readonly slot: Slot;
  readonly start: number;
  readonly count: number;
}

/** Elements of the pieces of one call. */
export const MAX_ELEMENTS = 2 ** 24;

const hasFused = hasOp("aten::_fused_adamw_");

export class AdamW implements Optimizer {
  private readonly groups: { slots: Slot[]; weightDecay: number; scale: number }[];
  private readonly betas: readonly [number, number];
  private readonly eps: number;
  private readonly fused: boolean;

  /** `fused: false` takes the list operators even where libtorch has the fused kernel. */
  constructor(groups: readonly ParameterGroup[], options: AdamWOptions & { fused?: boolean } = {}) {
    const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01, fused = true } = options;
    const { form = wholeState } = options;
    this.betas = betas;
    this.eps = eps;
    this.fused = fused && hasFused;
    refuseDuplicates(groups.flatMap((group) => [...group.parameters.keys()]));
    this.groups = groups.map((group) => ({
      slots: [...group.parameters].map(([name, parameter]) => newSlot(name, parameter, form)),
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
    for (const slot of this.slots()) {
      for (const [part, kept] of partsOf(slot)) state.set(`${slot.name}.${part}`, kept);
      state.set(`${slot.name}.steps`, slot.savedSteps.fill_(slot.steps));
    }
    return state;
  }

  loadState(state: ReadonlyMap<string, Tensor>): void {
    noGrad(() => {
      for (const slot of this.slots()) {
        for (const [part, kept] of partsOf(slot)) {
          const name = `${slot.name}.${part}`;
          const found = stateTensor(state, name, kept);
          if (found.dtype !== kept.dtype)
            throw new VigorlError(
              "input",
              `optimizer state: ${name} is ${found.dtype}, must be ${kept.dtype}`,
              {
                hint: "resume with the moments and masters that the checkpoint was made with",
              },
            );
          kept.copy_(found);
        }
        slot.steps = stateTensor(state, `${slot.name}.steps`).item();
      }
    });
  }

  dispose(): void {
    for (const slot of this.slots())
      for (const owned of [...partsOf(slot).map(([, kept]) => kept), slot.savedSteps])
        owned.dispose();
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
    const present = all.flatMap((slot) => {
      const gradient = gradientOf(slot.parameter);
      return gradient === null ? [] : [{ slot, gradient }];
    });
    for (const { slot } of present) slot.steps++;
    const gradients = new Map(present.map(({ slot, gradient }) => [slot, gradient]));
    for (const pieces of batches(present.map(({ slot }) => slot)))
      scope(() => {
        const load = (of: (slot: Slot) => Stored) =>
          pieces.map(({ slot, start, count }) => of(slot).load(start, count));
        const loaded: Loaded = {
          steps: pieces.map(({ slot }) => slot.steps),
          weights: load(({ weight }) => weight),
          means: load(({ mean }) => mean),
          squares: load(({ square }) => square),
          gradients: pieces.map(({ slot, start, count }) =>
            gradients.get(slot)!.reshape([-1]).narrow(0, start, count).to("float32"),
          ),
        };
        if (this.fused) this.stepFused(loaded, learningRate, weightDecay);
        else this.stepForeach(loaded, learningRate, weightDecay);
        for (const [i, { slot, start, count }] of pieces.entries()) {
          slot.weight.store(start, count, loaded.weights[i]);
          slot.mean.store(start, count, loaded.means[i]);
          slot.square.store(start, count, loaded.squares[i]);
        }
      });
  }

  private stepFused(
    { steps: counts, weights, means, squares, gradients }: Loaded,
    lr: number,
    weightDecay: number,
  ): void {
    const [beta1, beta2] = this.betas;
    const steps = new Map<number, Tensor>();
    const { device } = weights[0]!;
    for (const count of counts)
      if (!steps.has(count)) steps.set(count, full([], count, { device }));
    fusedAdamw_(
      weights,
      gradients,
      means,
      squares,
      [],
      counts.map((count) => steps.get(count)!),
      { lr, beta1, beta2, weightDecay, eps: this.eps, amsgrad: false, maximize: false },
    );
  }

  private stepForeach(
    { steps, weights, means, squares, gradients }: Loaded,
    lr: number,
    weightDecay: number,
  ): void {
    const [beta1, beta2] = this.betas;
    if (weightDecay !== 0) foreachMulScalar_(weights, 1 - lr * weightDecay);
    foreachMulScalar_(means, beta1);
    foreachAdd_(means, gradients, { alpha: 1 - beta1 });
    foreachMulScalar_(squares, beta2);
    foreachAddcmul_(squares, gradients, gradients, 1 - beta2);
    const denominators = foreachSqrt(squares);
    foreachDivScalars_(
      denominators,
      steps.map((count) => Math.sqrt(1 - beta2 ** count)),
    );
    foreachAddScalar_(denominators, this.eps);
    foreachAddcdivScalars_(
      weights,
      means,
      denominators,
      steps.map((count) => -lr / (1 - beta1 ** count)),
    );
  }
}

/** float32, flat, by piece. */
interface Loaded {
  readonly steps: number[];
  readonly weights: Tensor[];
  readonly means: Tensor[];
  readonly squares: Tensor[];
  readonly gradients: Tensor[];
}

/** All elements of the slots, in order, in calls of a bounded number. */
function batches(slots: readonly Slot[]): Piece[][] {
  const all: Piece[][] = [];
  let room = 0;
  for (const slot of slots) {
    const total = slot.parameter.numel;
    for (let start = 0; start < total; start += MAX_ELEMENTS) {
      const count = Math.min(MAX_ELEMENTS, total - start);
      if (count > room || all.length === 0) {
        all.push([]);
        room = MAX_ELEMENTS;
      }
      all.at(-1)!.push({ slot, start, count });
      room -= count;
    }
  }
  return all;
}

function partsOf({ mean, square, weight }: Slot): [part: string, kept: Tensor][] {
  return [mean, square, weight].flatMap(({ tensors }) => Object.entries(tensors));
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

function newSlot(name: string, parameter: Tensor, form: StateForm): Slot {
  const savedSteps = tensor([0], { dtype: "int64" }).keep();
  const mean = storedMoment(parameter, form, "mean");
  const square = storedMoment(parameter, form, "square");
  const weight = storedWeight(parameter, form);
  return { name, parameter, mean, square, weight, steps: 0, savedSteps };
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
