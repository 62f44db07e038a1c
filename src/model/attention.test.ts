/** Heads as the operator of our own lays them out, and as libtorch's operators do. */
import { beforeEach, describe, expect, it } from "vitest";
import { manualSeed } from "../torch/device.ts";
import { kernels } from "../torch/kernels.ts";
import { randn, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { plainHeads, segment } from "./attention.ts";

beforeEach(() => manualSeed(1));

function difference(a: Tensor, b: Tensor): number {
  return a.sub(b).abs().max().item();
}

describe.each([
  { size: 24, numHeads: 3, numKeyValueHeads: 3 },
  { size: 32, numHeads: 4, numKeyValueHeads: 2 },
  { size: 2, numHeads: 2, numKeyValueHeads: 1 },
])("heads of size $size", ({ size, numHeads, numKeyValueHeads }) => {
  it.each([[[5, 5, 5]], [[4, 7, 1, 6]]])("in segments of %j", (lengths) => {
    scope(() => {
      const { rows, longest } = segment(lengths, {
        dtype: "float32",
        device: "cpu",
        headDim: size,
      });
      const padding = rows && { rows, numRows: lengths.length * longest };
      const numRows = lengths.reduce((sum, length) => sum + length, 0);
      const factors = randn([numRows, size / 2, 2]).viewAsComplex();
      const data = randn([numRows, (numHeads + 2 * numKeyValueHeads) * size]);
      const [one, other] = [true, false].map((fused) => {
        const qkv = data.clone().requiresGrad_();
        const args = [qkv, factors, numHeads, numKeyValueHeads, padding] as const;
        return { qkv, parts: fused ? kernels.heads(...args) : plainHeads(...args) };
      });
      for (const [i, part] of one.parts.entries()) {
        expect(part.shape).toEqual(other.parts[i].shape);
        expect(difference(part, other.parts[i])).toBeLessThan(1e-5);
      }
      const gradients = one.parts.map(({ shape }) => randn(shape));
      for (const { parts } of [one, other]) {
        const loss = parts.map((part, i) => part.mul(gradients[i]).sum());
        loss[0].add(loss[1]).add(loss[2]).backward();
      }
      expect(difference(one.qkv.grad!, other.qkv.grad!)).toBeLessThan(1e-5);
    });
  });
});
