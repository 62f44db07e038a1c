/** Operators of our own against libtorch's, values and gradients, at widths that fill no vector. */
import { beforeEach, describe, expect, it } from "vitest";
import { manualSeed, numThreads, setNumThreads } from "./device.ts";
import { hasKernels, kernels } from "./kernels.ts";
import { plainRmsNorm, plainSwiglu } from "./nn.ts";
import { randn, zeros, type Tensor } from "./ops.ts";
import { scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

beforeEach(() => manualSeed(1));

function expectClose(got: Tensor, wanted: Tensor, tolerance = 2e-5): void {
  expect(got.shape).toEqual(wanted.shape);
  const numbers = wanted.toNumbers();
  const worst = got
    .toNumbers()
    .map((value, i) => Math.abs(value - numbers[i]) / (1 + Math.abs(numbers[i])));
  expect(Math.max(0, ...worst)).toBeLessThan(tolerance);
}

/** Values and input gradients of two ways to compute the same, under one random output gradient. */
function expectSame(
  inputs: readonly Tensor[],
  one: (...inputs: Tensor[]) => Tensor,
  other: (...inputs: Tensor[]) => Tensor,
): void {
  const outcome = (compute: (...inputs: Tensor[]) => Tensor) => {
    const leaves = inputs.map((input) => input.clone().requiresGrad_());
    const y = compute(...leaves);
    return { y, leaves };
  };
  const [a, b] = [outcome(one), outcome(other)];
  expectClose(a.y, b.y);
  const gradient = randn(a.y.shape);
  a.y.backward(gradient);
  b.y.backward(gradient);
  for (const [i, leaf] of a.leaves.entries()) expectClose(leaf.grad!, b.leaves[i].grad!, 2e-4);
}

describe.each([1, 6, 16, 40, 129])("at width %i", (width) => {
  it("RMS norm is libtorch's", () => {
    expect.hasAssertions();
    scope(() => {
      expectSame(
        [randn([300, width]), randn([width])],
        (x, gain) => kernels.rmsNorm(x, gain, 1e-6),
        (x, gain) => plainRmsNorm(x, gain, 1e-6),
      );
    });
  });

  it("SwiGLU is libtorch's", () => {
    expect.hasAssertions();
    scope(() => expectSame([randn([70, 2 * width]).mul(5)], kernels.swiglu, plainSwiglu));
  });

  it("rows are taken and given back", () => {
    expect.hasAssertions();
    scope(() => {
      const rows = tensor([1, 2, 5, 8], { dtype: "int64" });
      expectSame(
        [randn([10, width])],
        (x) => kernels.takeRows(x, rows),
        (x) => x.indexSelect(0, rows),
      );
    });
  });
});

describe("operators of our own", () => {
  it("hold at the ends of what floats can say", () => {
    scope(() => {
      const gates = [-3e38, -1e30, -200, -88, 0, 88, 200, 1e30];
      const x = tensor([...gates, ...gates.map(() => 1)], { shape: [1, 16] });
      const wanted = [0, 0, 0, 0, 0, 88, 200, 1e30];
      for (const [i, value] of kernels.swiglu(x).toNumbers().entries())
        expect(value / (wanted[i] || 1)).toBeCloseTo(wanted[i] === 0 ? 0 : 1, 6);
      expect(kernels.rmsNorm(zeros([2, 8]), zeros([8]), 1e-6).toNumbers()).toEqual(
        Array(16).fill(0),
      );
      expect(kernels.swiglu(zeros([0, 8])).shape).toEqual([0, 4]);
    });
  });

  it("give the same bits with any number of threads", () => {
    const before = numThreads();
    scope(() => {
      const x = randn([2000, 96]).requiresGrad_();
      const gain = randn([96]).requiresGrad_();
      const gradient = randn([2000, 96]);
      const bits = [1, 2, 3].map((count) => {
        setNumThreads(count);
        const y = kernels.rmsNorm(x, gain, 1e-6);
        y.backward(gradient);
        const all = [y, x.grad!, gain.grad!].map((part) => part.toNumbers());
        x.zeroGrad();
        gain.zeroGrad();
        return all;
      });
      setNumThreads(before);
      expect(bits[1]).toEqual(bits[0]);
      expect(bits[2]).toEqual(bits[0]);
    });
  });

  it("refuse what they are not made for", () => {
    scope(() => {
      expect(hasKernels(zeros([2, 2], { dtype: "bfloat16" }))).toBe(false);
      expect(() => kernels.swiglu(zeros([2, 2], { dtype: "float64" }))).toThrow(/float32/);
      expect(() => kernels.rmsNorm(zeros([2, 4]), zeros([3]), 0)).toThrow(/4 entries/);
      for (const rows of [
        [1, 0],
        [1, 1],
        [2, 5],
        [-1, 0],
      ])
        expect(() => kernels.takeRows(zeros([4, 2]), tensor(rows, { dtype: "int64" }))).toThrow(
          /rows must ascend and be less than 4/,
        );
    });
  });
});
