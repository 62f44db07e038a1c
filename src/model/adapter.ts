/**
 * Low-rank adapters (LoRA, Hu et al. 2021): beside the matrix W [out, in] of a linear layer, which stays
 * as it is, two thin ones, A [r, in] and B [out, r]; the layer computes W·x + s·B·A·x with s = alpha / r,
 * or alpha / √r where the rank is to be stable (Kalajdzievski 2023). A and B are float32 whatever the
 * model is in, and are rounded to its dtype where they meet its rows. Any linear layer of any family can
 * have one; word embeddings and head cannot, nor experts, nor the patch embedding. Left out: DoRA, trained biases.
 */
import { deriveSeed, stream } from "../core/random.ts";
import { VigorlError } from "../core/errors.ts";
import { manualSeed } from "../torch/device.ts";
import { dropout, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import type { Linear } from "./layers.ts";
import type { Parameters } from "./parameters.ts";
import { isVision } from "./parameters.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** A [r, in] and B [out, r]. */
export interface Factors {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** Rank and scale s of the adapter of one layer. */
export interface LayerRank {
  readonly rank: number;
  readonly scale: number;
}

/** What an adapter adds to one linear layer. */
export class LowRank {
  readonly rank: number;
  readonly scale: number;
  readonly #adapter: Adapter;
  readonly #module: string;

  constructor(adapter: Adapter, module: string, { rank, scale }: LayerRank) {
    this.rank = rank;
    this.scale = scale;
    this.#adapter = adapter;
    this.#module = module;
  }

  /** Null while the adapter is off. */
  get factors(): Factors | null {
    return this.#adapter.factorsOf(this.#module);
  }

  /** A in a dtype, [r, in]. */
  down({ a }: Factors, dtype: Tensor["dtype"]): Tensor {
    return a.to(dtype);
  }

  /** s·B in a dtype, [out, r]. */
  up({ b }: Factors, dtype: Tensor["dtype"]): Tensor {
    return b.mul(this.scale).to(dtype);
  }

  /** The rows that A is to read: some of their numbers dropped while the adapter is trained with dropout. */
  dropped(x: Tensor): Tensor {
    return this.#adapter.dropped(x, this.#module);
  }
}

export class Adapter {
  /** By canonical module path, in the model's order. */
  readonly ranks: ReadonlyMap<string, LayerRank>;
  /** A and B as parameters: `<module>.lora_A.weight`, `<module>.lora_B.weight`. */
  readonly params: Parameters;
  /** Whether it changes the vision tower. */
  readonly sees: boolean;
  #active: ReadonlyMap<string, Factors> | null;
  readonly #own: ReadonlyMap<string, Factors>;
  readonly #places = new Map<string, number>();
  #dropout: { readonly share: number; readonly seed: number; batch: number } | null = null;

  /** Takes ownership of the factors and puts itself into the model's layers. */
  constructor(
    model: VisionLanguageModel,
    ranks: ReadonlyMap<string, LayerRank>,
    factors: ReadonlyMap<string, Factors>,
  ) {
    const modules = [...model.linears.keys()].filter((module) => ranks.has(module));
    this.ranks = new Map(modules.map((module) => [module, ranks.get(module)!]));
    this.#own = new Map(modules.map((module) => [module, factors.get(module)!]));
    this.#active = this.#own;
    this.params = new Map();
    for (const [place, module] of modules.entries()) {
      const { a, b } = this.#own.get(module)!;
      this.params.set(`${module}.lora_A.weight`, a.keep());
      this.params.set(`${module}.lora_B.weight`, b.keep());
      this.#places.set(module, place);
      const linear: Linear = model.linears.get(module)!;
      linear.lowRank = new LowRank(this, module, this.ranks.get(module)!);
    }
    this.sees = modules.some(isVision);
  }

  /** What a layer's adapter is now; null while it is off. */
  factorsOf(module: string): Factors | null {
    return this.#active?.get(module) ?? null;
  }

  /** Runs `fn` with other factors in place of its own, or with none: the model as it was without. */
  during<T>(factors: ReadonlyMap<string, Factors> | null, fn: () => T): T {
    const before = this.#active;
    this.#active = factors;
    try {
      return fn();
    } finally {
      this.#active = before;
    }
  }

  /** A copy of the factors as they are, kept; null where they add nothing, as at the beginning. */
  snapshot(): ReadonlyMap<string, Factors> | null {
    return noGrad(() => {
      const changes = [...this.#own.values()].some(({ b }) =>
        scope(() => b.abs().amax([]).item() !== 0),
      );
      if (!changes) return null;
      const copy = (part: Tensor): Tensor => scope(() => part.detach().clone()).keep();
      return new Map(
        [...this.#own].map(([module, { a, b }]) => [module, { a: copy(a), b: copy(b) }]),
      );
    });
  }

  /** Runs `fn` with dropout on the rows that adapters read; what is dropped depends on the seed and the batch. */
  dropping<T>(share: number, seed: number, fn: () => T): T {
    const before = this.#dropout;
    this.#dropout = share === 0 ? null : { share, seed, batch: 0 };
    try {
      return fn();
    } finally {
      this.#dropout = before;
    }
  }

  /** From here on, other numbers are dropped. */
  nextBatch(): void {
    if (this.#dropout !== null) this.#dropout.batch++;
  }

  dropped(x: Tensor, module: string): Tensor {
    if (this.#dropout === null) return x;
    const { share, seed, batch } = this.#dropout;
    // Anew for each layer, so that one which is run twice drops the same.
    manualSeed(deriveSeed(seed, batch, this.#places.get(module)!));
    return dropout(x, share, true);
  }

  /** Switches gradients on for it and off for everything else. Returns the trained. */
  setTrainable(model: VisionLanguageModel): Parameters {
    model.setTrainable("none");
    for (const parameter of this.params.values()) parameter.requiresGrad_();
    return this.params;
  }

  dispose(): void {
    for (const parameter of this.params.values()) parameter.dispose();
  }
}

/**
 * Adapters for some layers of a model as training begins: A uniform within ±1/√in, B zero, so that
 * nothing is changed yet. A layer's draw depends on the seed and its name alone.
 */
export function initAdapter(
  model: VisionLanguageModel,
  ranks: ReadonlyMap<string, LayerRank>,
  seed: number,
): Adapter {
  const { device } = model;
  const factors = new Map<string, Factors>();
  noGrad(() => {
    for (const [module, { rank }] of ranks) {
      const [out, width] = layerShape(model, module);
      const random = stream(seed, "adapter", module);
      const bound = 1 / Math.sqrt(width);
      const data = Float32Array.from({ length: rank * width }, () => random.uniform(-bound, bound));
      factors.set(module, {
        a: tensor(data, { shape: [rank, width], device }),
        b: tensor(new Float32Array(out * rank), { shape: [out, rank], device }),
      });
    }
  });
  return new Adapter(model, ranks, factors);
}

/** Rows and columns of a linear layer's matrix. */
export function layerShape(
  model: VisionLanguageModel,
  module: string,
): [out: number, width: number] {
  const linear = model.linears.get(module);
  if (linear === undefined) throw new Error(`no linear layer ${module}`);
  return [linear.weight.size(0), linear.weight.size(1)];
}

/** A layer's matrix with what its adapter adds, in the dtype of the matrix. */
export function effectiveWeight({ weight, lowRank }: Linear): Tensor {
  const factors = lowRank?.factors ?? null;
  if (lowRank === undefined || factors === null) return weight;
  // As peft merges: the product in float32, rounded, added.
  return scope(() => weight.add(factors.b.mm(factors.a).mul(lowRank.scale).to(weight.dtype)));
}

/** Adds an adapter to the matrices of its model, in place, and leaves the model without it. */
export function mergeAdapter(model: VisionLanguageModel, adapter: Adapter): void {
  noGrad(() => {
    for (const module of adapter.ranks.keys()) {
      const linear: Linear = model.linears.get(module)!;
      scope(() => linear.weight.copy_(effectiveWeight(linear)));
      linear.lowRank = undefined;
    }
  });
}

/** How layers are chosen: `all-linear`, an expression that fits whole paths, or ends of paths. */
export type Targets = string | readonly string[];

/**
 * The layers that targets mean, among those of a model that may be trained: paths as transformers has
 * them (`model.language_model.layers.0.self_attn.q_proj`), as in peft.
 * @throws VigorlError "usage" where one of them means none
 */
export function chooseLayers(
  paths: ReadonlyMap<string, string>,
  { targets, exclude }: { readonly targets: Targets; readonly exclude?: Targets },
): string[] {
  const chosen = [...paths].filter(([, path]) => fits(path, targets));
  for (const end of typeof targets === "string" ? [targets] : targets)
    if (![...paths.values()].some((path) => fits(path, typeof targets === "string" ? end : [end])))
      throw new VigorlError("usage", `lora.targets: no linear layer that is trained fits ${end}`, {
        hint: `all-linear, a list of names such as [q_proj, v_proj], or a regular expression for whole paths such as ${[...paths.values()][0] ?? "…"}`,
      });
  const kept = chosen.filter(([, path]) => exclude === undefined || !fits(path, exclude));
  if (kept.length === 0)
    throw new VigorlError("usage", "lora.exclude: leaves no layer to train", { hint: "narrow it" });
  return kept.map(([module]) => module);
}

function fits(path: string, targets: Targets): boolean {
  if (targets === "all-linear") return true;
  if (typeof targets === "string") return expression(targets).test(path);
  return targets.some((end) => path === end || path.endsWith(`.${end}`));
}

function expression(text: string): RegExp {
  try {
    return new RegExp(`^(?:${text})$`);
  } catch (cause) {
    throw new VigorlError("usage", `lora.targets: ${text} is no regular expression`, { cause });
  }
}
