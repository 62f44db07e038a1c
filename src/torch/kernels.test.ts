/** Operators of our own against libtorch's, values and gradients, at widths that fill no vector. */
import { beforeEach, describe, expect, it } from "vitest";
import { manualSeed, numThreads, setNumThreads } from "./device.ts";
import { hasKernels, kernels } from "./kernels.ts";
import { plainAttention, plainRmsNorm, plainSwiglu } from "./nn.ts";
import { cat, randn, zeros, type Tensor } from "./ops.ts";
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
  it("products with halves are those of the same weights in float32, row by row to the bit", () => {
    expect.hasAssertions();
    scope(() => {
      const weights = [19, 1, 24].map((out) => randn([out, width]).to("bfloat16"));
      const bias = randn([44]);
      const x = randn([15, width]);
      const wanted = cat(
        weights.map((weight) => x.matmul(weight.to("float32").t())),
        1,
      ).add(bias);
      const given = kernels.halfLinear(x, weights, { bias });
      expectClose(given, wanted);
      const order = Int32Array.from({ length: 44 }, (_, i) => (i * 5) % 44);
      const columns = tensor(order, { dtype: "int32" });
      const moved = kernels.halfLinear(x, weights, { bias, columns });
      expect(moved.indexSelect(1, columns.to("int64")).toNumbers()).toEqual(given.toNumbers());
      for (const count of [1, 2, 3, 7]) {
        const some = kernels.halfLinear(x.narrow(0, 4, count), weights, { bias });
        expect(some.toNumbers()).toEqual(given.narrow(0, 4, count).toNumbers());
      }
    });
  });

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

describe.each([
  { size: 8, groups: 1 },
  { size: 32, groups: 2 },
  { size: 40, groups: 7 },
])("attention over a cache, $groups queries a key head of $size", ({ size, groups }) => {
  const [numSlots, keyHeads, capacity] = [3, 2, 64];
  const cache = () => ({
    keys: zeros([numSlots, keyHeads, capacity / 16, size, 16]),
    values: zeros([numSlots, keyHeads, capacity, size]),
  });
  /** Heads that are not turned: the factors are 1. */
  const factors = () =>
    zeros([1, size / 2, 2])
      .add(tensor([1, 0]))
      .viewAsComplex();
  const rowsOf = (rows: readonly number[][]) =>
    tensor(rows.flat(), { shape: [rows.length, 5], dtype: "int64" });
  const attend = (heads: Tensor, to: ReturnType<typeof cache>, rows: readonly number[][]) =>
    kernels.attendCached(heads.clone(), factors(), to, rowsOf(rows), groups * keyHeads);

  it("is causal attention, whatever the pieces it comes in", () => {
    scope(() => {
      const length = 45;
      const heads = randn([length, keyHeads * (groups + 2) * size]);
      const rows = Array.from({ length }, (_, t) => [1, t, 0, 1, 0]);
      const whole = attend(heads, cache(), rows);
      const parts = heads.view([length, keyHeads, groups + 2, size]).permute([1, 2, 0, 3]);
      const [queries, keys, values] = parts.splitWithSizes([groups, 1, 1], 1);
      const wanted = plainAttention(
        queries,
        keys.repeatInterleave(groups, 1),
        values.repeatInterleave(groups, 1),
        { isCausal: true },
      );
      expectClose(whole, wanted.permute([2, 0, 1, 3]).reshape([length, -1]));
      const pieces = cache();
      for (const [start, end] of [
        [0, 20],
        [20, 21],
        [21, 45],
      ]) {
        const part = attend(heads.narrow(0, start, end - start), pieces, rows.slice(start, end));
        expect(part.toNumbers()).toEqual(whole.narrow(0, start, end - start).toNumbers());
      }
    });
  });

  it("leaves idle rows alone and gives them zeros", () => {
    scope(() => {
      const to = cache();
      const heads = randn([2, keyHeads * (groups + 2) * size]);
      const mixed = attend(heads, to, [
        [-1, 0, 0, 0, 0],
        [2, 0, 0, 2, 0],
      ]);
      expect(mixed.select(0, 0).abs().sum().item()).toBe(0);
      expect(mixed.select(0, 1).abs().sum().item()).toBeGreaterThan(0);
      expect(to.values.narrow(0, 0, 2).abs().sum().item()).toBe(0);
      expect(attend(heads.narrow(0, 0, 0), to, []).shape).toEqual([0, groups * keyHeads * size]);
    });
  });

  it("refuses rows and tensors that do not fit", () => {
    scope(() => {
      const heads = randn([1, keyHeads * (groups + 2) * size]);
      for (const row of [
        [3, 0, 0, 0, 0],
        [0, 64, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 3, 0],
        [0, 0, 0, 0, -1],
      ])
        expect(() => attend(heads, cache(), [row])).toThrow(/row 0 does not fit the cache/);
      expect(() => attend(randn([1, 3]), cache(), [[0, 0, 0, 0, 0]])).toThrow(/qkv/);
      const traced = heads.clone().requiresGrad_();
      expect(() => attend(traced, cache(), [[0, 0, 0, 0, 0]])).toThrow(/no gradient/);
      expect(() => attend(heads, { ...cache(), keys: cache().values }, [[0, 0, 0, 0, 0]])).toThrow(
        /the cache must be keys/,
      );
      expect(() => attend(heads.to("float64"), cache(), [[0, 0, 0, 0, 0]])).toThrow(/float32/);
    });
  });
});
