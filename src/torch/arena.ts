/**
 * One block of memory for many tensors. What is read again and again in one order is read faster from
 * one block: the processor has fewer pages to look up, above all where the system gives it large ones.
 */
import { native } from "./native.ts";
import { empty, type Tensor } from "./ops.ts";
import { noGrad, scope } from "./scope.ts";
import type { Device, DType } from "./tensor.ts";

/** Tensors of these shapes, one after another in one block, not filled with anything. Kept. */
export function allocate(
  shapes: readonly (readonly number[])[],
  options: { dtype: DType; device: Device },
): Tensor[] {
  const sizes = shapes.map((shape) => shape.reduce((size, length) => size * length, 1));
  return noGrad(() =>
    scope(() => {
      const block = empty([sizes.reduce((sum, size) => sum + size, 0)], options);
      native.hugePages(block.id);
      return block.splitWithSizes(sizes, 0).map((part, i) => part.view(shapes[i]).keep());
    }),
  );
}
