/**
 * One block of memory for many tensors. What is read again and again in one order is read faster from
 * one block: the processor has fewer pages to look up, above all where the system gives it large ones.
 */
import { native } from "./native.ts";
import { empty, type Tensor } from "./ops.ts";
import { noGrad, scope } from "./scope.ts";
import type { Device, DType } from "./tensor.ts";

/** A block for tensors of these shapes, not filled with anything. Kept. */
export function allocateBlock(
  shapes: readonly (readonly number[])[],
  options: { dtype: DType; device: Device },
): Tensor {
  const size = shapes.reduce((sum, shape) => sum + sizeOf(shape), 0);
  const block = noGrad(() => empty([size], options)).keep();
  native.hugePages(block.id);
  return block;
}

/** The tensors of these shapes that lie one after another in a block. Kept. */
export function divideBlock(block: Tensor, shapes: readonly (readonly number[])[]): Tensor[] {
  return noGrad(() =>
    scope(() =>
      block.splitWithSizes(shapes.map(sizeOf), 0).map((part, i) => part.view(shapes[i]).keep()),
    ),
  );
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}
