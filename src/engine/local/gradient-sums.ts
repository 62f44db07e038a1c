/**
 * Gradients over many backward passes. Those of float32 weights add up in autograd; those of half
 * precision would lose what is small beside the sum, so each pass is added to a float32 sum and dropped.
 */
import type { Parameters } from "../../model/parameters.ts";
import type { Tensor } from "../../torch/ops.ts";
import { noGrad, scope } from "../../torch/scope.ts";

export class GradientSums {
  private readonly trained: Parameters;
  private readonly half: Tensor[];
  private readonly sums = new Map<Tensor, Tensor>();

  constructor(trained: Parameters) {
    this.trained = trained;
    this.half = [...trained.values()].filter(({ dtype }) => dtype !== "float32");
  }

  /** Takes over what a backward pass has left. */
  collect(): void {
    if (this.half.length === 0) return;
    noGrad(() => {
      // A scope each: together their float32 forms would be as large as all sums.
      for (const parameter of this.half) scope(() => this.add(parameter));
    });
  }

  private add(parameter: Tensor): void {
    const gradient = parameter.grad;
    if (gradient === null) return;
    const wide = gradient.to("float32");
    const sum = this.sums.get(parameter);
    if (sum === undefined) this.sums.set(parameter, wide.keep());
    else sum.add_(wide);
    parameter.zeroGrad();
  }

  /** The sum for a parameter, or null where no pass has reached it. */
  of(parameter: Tensor): Tensor | null {
    return this.sums.get(parameter) ?? parameter.grad;
  }

  clear(): void {
    for (const sum of this.sums.values()) sum.dispose();
    this.sums.clear();
    for (const parameter of this.trained.values()) parameter.zeroGrad();
  }
}
