/**
 * Tensors between threads of this process: the same memory under a handle of each. Who writes to it
 * must know that nobody reads meanwhile.
 */
import { native } from "./native.ts";
import { Tensor } from "./ops.ts";

/** Offers a tensor's memory to `consumers` calls of `takeTensor` in any thread; returns its number. */
export function offerTensor(tensor: Tensor, consumers: number): number {
  return native.offer(tensor.id, consumers);
}

/** The tensor that was offered under a number, without gradients. Throws where it is taken up. */
export function takeTensor(number: number): Tensor {
  return new Tensor(native.take(number));
}
