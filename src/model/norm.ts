import { rmsNorm as fusedRmsNorm, type Tensor } from "../torch/ops.ts";
export function rmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
  if (x.dtype === "float32") return fusedRmsNorm(x, [weight.shape[0]], weight, eps);
  const wide = x.to("float32");
  return wide
    .mul(wide.square().mean([-1], true).add(eps).rsqrt())
    .to(x.dtype)
    .mul(weight);
}
