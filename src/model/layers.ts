/**
 * The pieces that towers and language models are put together from. A structure is built by one walk
 * over its parameters, each named with its shape: over the tensors of a model it gives the model, and
 * without any it gives the list of names and shapes.
 */
import { layerNorm, linear, rmsNorm } from "../torch/nn.ts";
import type { Tensor } from "../torch/ops.ts";

/** Gives what stands for the parameter of this name, which has this shape. */
export type Take<T> = (name: string, shape: readonly number[]) => T;

/** Weight and, where the published layer has one, bias of a linear layer. */
export interface Linear<T = Tensor> {
  readonly weight: T;
  readonly bias?: T;
}

/** Gain of an RMS norm; with a bias, of a layer norm. */
export interface Norm<T = Tensor> {
  readonly weight: T;
  readonly bias?: T;
}

export function takeLinear<T>(
  take: Take<T>,
  name: string,
  [out, input]: readonly [out: number, input: number],
  hasBias: boolean,
): Linear<T> {
  const weight = take(`${name}.weight`, [out, input]);
  return hasBias ? { weight, bias: take(`${name}.bias`, [out]) } : { weight };
}

export function takeNorm<T>(take: Take<T>, name: string, width: number, hasBias: boolean): Norm<T> {
  const weight = take(`${name}.weight`, [width]);
  return hasBias ? { weight, bias: take(`${name}.bias`, [width]) } : { weight };
}

/** Rows of x through a linear layer. */
export function project(x: Tensor, { weight, bias }: Linear): Tensor {
  return linear(x, weight, bias);
}

/** Rows of x normed: as a layer norm where there is a bias, else by their root mean square. */
export function normed(x: Tensor, { weight, bias }: Norm, eps: number): Tensor {
  return bias === undefined ? rmsNorm(x, weight, eps) : layerNorm(x, weight, bias, eps);
}
