import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { native } from "./native.ts";
import * as ops from "./ops.ts";
import { arange, cat, einsum, full, meshgrid, stack, where, zeros, type Tensor } from "./ops.ts";
import { noGrad, scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

/** d loss / d x by central differences in float64, element by element. */
function finiteDifferences(loss: (x: Tensor) => Tensor, values: number[], shape: number[]) {
  const step = 1e-5;
  return values.map((_, i) => {
    const at = (delta: number) =>
      scope(() => {
        const moved = values.map((v, k) => (k === i ? v + delta : v));
        return loss(tensor(moved, { shape, dtype: "float64" })).item();
      });
    return (at(step) - at(-step)) / (2 * step);
  });
}

function checkGradient(loss: (x: Tensor) => Tensor, values: number[], shape: number[]): void {
  const expected = finiteDifferences(loss, values, shape);
  const got = scope(() => {
    const x = tensor(values, { shape, dtype: "float64", requiresGrad: true });
    loss(x).backward();
    return x.grad!.toNumbers();
  });
  got.forEach((g, i) => expect(g).toBeCloseTo(expected[i]!, 6));
}

describe("operators", () => {
  it("computes what hand calculation gives", () => {
    scope(() => {
      const x = tensor([
        [1, 2],
        [3, 4],
      ]);
      expect(x.matmul(x).tolist()).toEqual([
        [7, 10],
        [15, 22],
      ]);
      expect(x.add(x, { alpha: 2 }).toNumbers()).toEqual([3, 6, 9, 12]);
      expect(x.sub(1).toNumbers()).toEqual([0, 1, 2, 3]);
      expect(x.div(2).toNumbers()).toEqual([0.5, 1, 1.5, 2]);
      expect(x.div(2, { roundingMode: "floor" }).toNumbers()).toEqual([0, 1, 1, 2]);
      expect(x.sum().item()).toBe(10);
      expect(x.sum([0]).toNumbers()).toEqual([4, 6]);
      expect(x.mean(1, true).tolist()).toEqual([[1.5], [3.5]]);
      expect(x.max().item()).toBe(4);
      expect(x.maxDim(1).map((t) => t.toNumbers())).toEqual([
        [2, 4],
        [1, 1],
      ]);
      expect(x.clamp(2, 3).toNumbers()).toEqual([2, 2, 3, 3]);
      expect(x.pow(2).toNumbers()).toEqual([1, 4, 9, 16]);
      expect(x.t().reshape([-1]).toNumbers()).toEqual([1, 3, 2, 4]);
      expect(x.gt(2).dtype).toBe("bool");
      expect(where(x.gt(2), x, -1).toNumbers()).toEqual([-1, -1, 3, 4]);
      expect(where(x.gt(2), 1, 0).toNumbers()).toEqual([0, 0, 1, 1]);
      expect(cat([x, x], 1).shape).toEqual([2, 4]);
      expect(stack([x, x]).shape).toEqual([2, 2, 2]);
      expect(einsum("ij,kj->ik", [x, x]).toNumbers()).toEqual([5, 11, 11, 25]);
      expect(x.split(1, 1).map((t) => t.toNumbers())).toEqual([
        [1, 3],
        [2, 4],
      ]);
      expect(x.index([null, tensor([1, 0], { dtype: "int64" })]).toNumbers()).toEqual([2, 1, 4, 3]);
      expect(x.maskedFill(x.lt(2), -Infinity).toNumbers()).toEqual([-Infinity, 2, 3, 4]);
      expect(meshgrid([arange(2), arange(3)], { indexing: "ij" })[0]!.shape).toEqual([2, 3]);
      expect(x.equal(x.clone())).toBe(true);
    });
  });

  it("makes numbers into the dtypes people expect", () => {
    scope(() => {
      expect(full([2], 1).dtype).toBe("float32");
      expect(zeros([2]).dtype).toBe("float32");
      expect(arange(3).dtype).toBe("int64");
      expect(tensor([1, 2]).add(1).dtype).toBe("float32");
      expect(tensor([1, 2], { dtype: "int64" }).add(1).dtype).toBe("int64");
      expect(tensor([1, 2], { dtype: "int64" }).mul(0.5).dtype).toBe("float32");
    });
  });

  it("returns the same object from operators that work in place", () => {
    scope(() => {
      const x = tensor([1, 2]);
      expect(x.add_(1).mul_(2)).toBe(x);
      expect(x.toNumbers()).toEqual([4, 6]);
      x.narrow(0, 0, 1).zero_();
      expect(x.toNumbers()).toEqual([0, 6]);
    });
  });

  it("differentiates like finite differences", () => {
    expect.hasAssertions();
    const values = [0.3, -0.7, 1.1, 0.2, -0.4, 0.9];
    checkGradient((x) => x.matmul(x.t()).tanh().sum(), values, [2, 3]);
    checkGradient((x) => x.logSoftmax(-1).mul(x).sum(), values, [2, 3]);
    checkGradient((x) => x.exp().logsumexp([1]).square().sum(), values, [2, 3]);
    checkGradient((x) => x.silu().mul(x.gelu()).mean(), values, [3, 2]);
    checkGradient((x) => x.clampMin(0).add(x.sigmoid()).log1p().sum(), values, [6]);
  });

  it("accumulates, clears and replaces gradients", () => {
    scope(() => {
      const x = tensor([1, 2], { requiresGrad: true });
      expect(x.grad).toBeNull();
      x.square().sum().backward();
      x.square().sum().backward();
      expect(x.grad!.toNumbers()).toEqual([4, 8]);
      x.grad = tensor([1, 1]);
      expect(x.grad.toNumbers()).toEqual([1, 1]);
      x.zeroGrad();
      expect(x.grad).toBeNull();
      x.mul(2).backward(tensor([1, 10]));
      expect(x.grad!.toNumbers()).toEqual([2, 20]);
      expect(noGrad(() => x.mul(2).requiresGrad)).toBe(false);
      expect(x.detach().requiresGrad).toBe(false);
    });
  });

  it("looks up operators that nearly all exist in whichever libtorch is in use", () => {
    const source = readFileSync(new URL("./ops.ts", import.meta.url), "utf8");
    const looked = [...source.matchAll(/native\.op\("([^"]+)", "([^"]*)"\)/g)];
    expect(looked.length).toBeGreaterThan(300);
    expect(Object.keys(ops).length).toBeGreaterThan(60);
    const known = looked.filter(([, name, overload]) => native.hasOp(name!, overload));
    expect(known.length / looked.length).toBeGreaterThan(0.9);
  });
});
