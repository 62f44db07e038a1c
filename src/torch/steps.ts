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
}

/** Keeps what autograd keeps. */
export const keptSteps: Steps = { run: (x, step) => scope(() => step(x)) };

/** Keeps the inputs of its steps, and runs each again in the backward pass. */
export class RecomputedSteps implements Steps {
  readonly #done: { readonly input: Tensor; readonly step: Step }[] = [];

  run(x: Tensor, step: Step): Tensor {
    this.#done.push({ input: x, step });
    return noGrad(() => scope(() => step(x)));
  }

  /**
   * Adds to the gradients of parameters, given the derivative by the last output.
   * @param collect called after each step
   * @returns the derivative by the first input
   */
  backward(gradient: Tensor, collect: () => void): Tensor {
    let slope = gradient;
    for (let i = this.#done.length - 1; i >= 0; i--) {
      const { input, step } = this.#done[i];
      const outer = slope;
      slope = scope(() => {
        const leaf = input.detach().requiresGrad_();
        const output = enableGrad(() => step(leaf));
        output.backward(outer);
        const inner = leaf.grad;
        if (inner === null) throw new Error("a step that does not depend on its input");
        return inner;
      });
      collect();
      if (i > 0) input.dispose();
      if (outer !== gradient) outer.dispose();
    }
    this.#done.length = 0;
    return slope;
  }
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
