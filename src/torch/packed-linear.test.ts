/** Products with packed weights against libtorch's, at sizes that fill no panel and no vector. */
import { beforeEach, describe, expect, it } from "vitest";
import { manualSeed, numThreads, setNumThreads } from "./device.ts";
import { plainRmsNorm, plainSwiglu } from "./nn.ts";
import { cat, empty, randn, zeros, type Tensor } from "./ops.ts";
import { packedLinear, packedShape, packWeights, type PackedWeights } from "./packed-linear.ts";
import { noGrad, scope } from "./scope.ts";

beforeEach(() => manualSeed(1));

/** Packed weights [width, depth]; of gates and ups where there are two. */
function packed(...weights: readonly { readonly weight: Tensor; readonly bias?: Tensor }[]) {
  const [width, depth] = weights[0].weight.shape;
  const gated = weights.length === 2;
  const result: PackedWeights = { panels: empty(packedShape(width, depth, gated)), width, gated };
  packWeights(result, ...weights);
  return result;
}

function worst(got: Tensor, wanted: Tensor): number {
  expect(got.shape).toEqual(wanted.shape);
  const numbers = wanted.toNumbers();
  return Math.max(0, ...got.toNumbers().map((value, i) => Math.abs(value - numbers[i])));
}

describe.each([
  { rows: 1, depth: 1, width: 1 },
  { rows: 3, depth: 24, width: 31 },
  { rows: 13, depth: 40, width: 33 },
  { rows: 32, depth: 128, width: 144 },
  { rows: 300, depth: 65, width: 96 },
  { rows: 0, depth: 16, width: 32 },
  { rows: 5, depth: 0, width: 8 },
])("$rows rows of $depth to $width", ({ rows, depth, width }) => {
  it("is x · weightᵀ + bias + residual", () => {
    scope(() => {
      const [x, weight, bias] = [randn([rows, depth]), randn([width, depth]), randn([width])];
      const residual = randn([rows, width]);
      const wanted = x.matmul(weight.t()).add(bias);
      expect(worst(packedLinear(x, packed({ weight })), wanted.sub(bias))).toBeLessThan(1e-4);
      expect(worst(packedLinear(x, packed({ weight, bias })), wanted)).toBeLessThan(1e-4);
      expect(
        worst(packedLinear(x, packed({ weight, bias }), { residual }), wanted.add(residual)),
      ).toBeLessThan(1e-4);
    });
  });

  it("takes an RMS norm before and SwiGLU after", () => {
    if (depth === 0) return;
    scope(() => {
      const [x, gain] = [randn([rows, depth]), randn([depth])];
      const [gate, up] = [1, 2].map(() => ({
        weight: randn([width, depth]),
        bias: randn([width]),
      }));
      const residual = randn([rows, width]);
      const folded = [gate, up].map(({ weight, bias }) => ({ weight: weight.mul(gain), bias }));
      const wide = plainRmsNorm(x, gain, 1e-6)
        .matmul(cat([gate.weight, up.weight], 0).t())
        .add(cat([gate.bias, up.bias], 0));
      const got = packedLinear(x, packed(...folded), { residual, normEps: 1e-6 });
      const wanted = plainSwiglu(wide).add(residual);
      expect(worst(got.div(wanted.abs().add(1)), wanted.div(wanted.abs().add(1)))).toBeLessThan(
        1e-4,
      );
    });
  });
});

describe("packed products", () => {
  it("give a row the same bits whatever the other rows and the threads are", () => {
    const before = numThreads();
    scope(() => {
      const x = randn([45, 96]);
      const weights = packed({ weight: randn([600, 96]), bias: randn([600]) });
      const all = packedLinear(x, weights, { normEps: 1e-6 }).toArray();
      for (const count of [1, 2, 3]) {
        setNumThreads(count);
        for (const rows of [1, 2, 7, 44]) {
          const part = packedLinear(x.narrow(0, 45 - rows, rows), weights, { normEps: 1e-6 });
          expect(part.toArray()).toEqual(all.slice((45 - rows) * 600));
        }
      }
      setNumThreads(before);
    });
  });

  it("take rows that do not lie one after another", () => {
    scope(() => {
      const [x, weight] = [randn([20, 7]), randn([9, 20])];
      expect(worst(packedLinear(x.t(), packed({ weight })), x.t().matmul(weight.t()))).toBeLessThan(
        1e-4,
      );
    });
  });

  it("refuse what they are not made for", () => {
    scope(() => {
      const weights = packed({ weight: randn([40, 8]) });
      expect(() => packedLinear(zeros([2, 9]), weights)).toThrow(/x must be \[M, 8\]/);
      expect(() => packedLinear(zeros([2, 8], { dtype: "float64" }), weights)).toThrow(/float32/);
      expect(() => packedLinear(zeros([2, 8]), { ...weights, width: 65 })).toThrow(
        /2 panels do not hold 65 columns/,
      );
      expect(() => packedLinear(zeros([2, 8]), { ...weights, gated: true })).toThrow(/panels/);
      expect(() => packedLinear(zeros([2, 8]), { panels: zeros([2, 8]), width: 2 })).toThrow(
        /must be packed/,
      );
      expect(() => packedLinear(zeros([2, 8]), weights, { residual: zeros([1, 40]) })).toThrow(
        /residual must be \[2, 40\]/,
      );
      const x = randn([2, 8]).requiresGrad_();
      expect(() => packedLinear(x, weights)).toThrow(/no gradient/);
      expect(noGrad(() => packedLinear(x, weights)).shape).toEqual([2, 40]);
    });
  });
});
