/**
 * A computation in steps, such as the layers of a model, whose insides are kept for the backward pass, or
 * (gradient checkpointing, Chen et al. 2016) made again in it: then only what goes from step to step
 * stays. A step that is run twice has to come to the same result; it does, to the bit, in what we call.
 */
import type { Tensor } from "./ops.ts";
import { backwardFrom } from "./handle.ts";
import { enableGrad, noGrad, scope } from "./scope.ts";

/** What a step makes of its input. Gradients reach parameters inside it and its input, nothing else. */
export type Step = (x: Tensor) => Tensor;

export interface Steps {
  /** Runs a step in a scope of its own. */
  run(x: Tensor, step: Step): Tensor;
  /** What is made of a step's output besides the next one's input. */
  aside(x: Tensor, step: Step): Tensor;
}

/** Keeps what autograd keeps. */
export const keptSteps: Steps = {
  run: (x, step) => scope(() => step(x)),
  aside: (x, step) => scope(() => step(x)),
};

interface Done {
  readonly input: Tensor;
  readonly step: Step;
  /** Where the gradient of what was made aside is gathered. */
  readonly aside?: Tensor;
}

/** Keeps the inputs of its steps, and runs each again in the backward pass. */
export class RecomputedSteps implements Steps {
  readonly #done: Done[] = [];

  run(x: Tensor, step: Step): Tensor {
    this.#done.push({ input: x, step });
    return noGrad(() => scope(() => step(x)));
  }

  aside(x: Tensor, step: Step): Tensor {
    const made = noGrad(() => scope(() => step(x))).requiresGrad_();
    this.#done.push({ input: x, step, aside: made });
    return made;
  }

  /**
   * Adds to the gradients of parameters, given the derivative by the last output; the backward pass of what
   * was made aside has to have been run.
   * @param gradient null where the last step's output goes nowhere else than aside
   * @param collect called after each step
   * @returns the derivative by the first input
   */
  backward(gradient: Tensor | null, collect: () => void): Tensor {
    let slope = gradient;
    for (let i = this.#done.length - 1; i >= 0; i--) {
      const { input, step, aside } = this.#done[i];
      const outer = slope;
      slope = scope(() => {
        const inner = derivative(input, step, aside === undefined ? outer : aside.grad);
        return aside === undefined || outer === null ? inner : outer.add(inner);
      });
      collect();
      // The input of a neighbour may be the same.
      if (i > 0 && this.#done[i - 1].input !== input) input.dispose();
      if (outer !== null && outer !== gradient) outer.dispose();
    }
    this.#done.length = 0;
    if (slope === null) throw new Error("a backward pass of no steps");
    return slope;
  }
}

/** Runs a step again and its backward pass: the derivative by its input. */
function derivative(input: Tensor, step: Step, slope: Tensor | null): Tensor {
  if (slope === null) throw new Error("a step whose output nothing depends on");
  const leaf = input.detach().requiresGrad_();
  enableGrad(() => step(leaf)).backward(slope);
  const inner = leaf.grad;
  if (inner === null) throw new Error("a step that does not depend on its input");
  return inner;
}

/** A tensor as its gradient is gathered apart from the graph that it comes from. */
export function leafOf(x: Tensor): Tensor {
  return x.requiresGrad ? x.detach().requiresGrad_() : x;
}

/** Runs the backward passes of several results at once, of those that have one. */
export function backwardOf(
  pairs: readonly (readonly [result: Tensor, slope: Tensor | null])[],
): void {
  const alive = pairs.flatMap(([result, slope]) =>
    result.requiresGrad && slope !== null ? [[result, slope] as const] : [],
  );
  if (alive.length === 0) return;
  backwardFrom(
    alive.map(([result]) => result),
    alive.map(([, slope]) => slope),
  );
}
