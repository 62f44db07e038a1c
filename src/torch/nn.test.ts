/** Layers against values and gradients recorded from PyTorch, and against their plain forms. */
import { describe, expect, it } from "vitest";
import { manualSeed } from "./device.ts";
import { fixture } from "./fixtures/torch.ts";
import {
  attention,
  attentionBy,
  crossEntropy,
  joinedLinear,
  layerNorm,
  linear,
  plainAttention,
  plainRmsNorm,
  rmsNorm,
} from "./nn.ts";
import { cat, ones, randn, zeros, type Tensor } from "./ops.ts";
import { scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

function expectClose(got: Tensor, wanted: readonly number[], tolerance = 1e-5): void {
  const numbers = got.toNumbers();
  expect(numbers.length).toBe(wanted.length);
  numbers.forEach((v, i) => expect(Math.abs(v - wanted[i]!)).toBeLessThan(tolerance));
}

describe("layers", () => {
  const { layers } = fixture;
  it.each([
    ["attention", attention],
    ["attention that repeats keys", attentionBy("(Tensor query, *, float? scale=None)")],
    ["attention without an operator", attentionBy(null)],
    ["attention by one without a scale", attentionBy("(Tensor query, bool is_causal)")],
    ["plainAttention", plainAttention],
  ])("%s with grouped heads follows PyTorch, forwards and backwards", (_, attend) => {
    expect.hasAssertions();
    scope(() => {
      const leaf = (data: number[], heads: number) =>
        tensor(data, { shape: [2, heads, 5, 8], requiresGrad: true });
      const [q, k, v] = [leaf(layers.q, 4), leaf(layers.k, 2), leaf(layers.v, 2)];
      const y = attend(q, k, v, { isCausal: true });
      expectClose(y, layers.y);
      y.square().sum().backward();
      expectClose(q.grad!, layers.gradQ, 1e-4);
      expectClose(k.grad!, layers.gradK, 1e-4);
      expectClose(v.grad!, layers.gradV, 1e-4);
    });
  });

  it.each([
    ["side by side", undefined, true],
    ["their first heads as pairs", { paired: 12, size: 6 }, true],
    ["all heads as pairs, without biases", { paired: 16, size: 4 }, false],
  ])("joined layers give the same bits as their joined matrix, %s", (_, heads, isBiased) => {
    manualSeed(3);
    const widths = [6, 6, 4];
    const leaf = (shape: number[]) => randn(shape).requiresGrad_();
    scope(() => {
      const x = leaf([5, 7]);
      const parts = widths.map((width) => ({
        weight: leaf([width, 7]),
        bias: isBiased ? leaf([width]) : undefined,
      }));
      const leaves = [
        x,
        ...parts.flatMap(({ weight, bias }) => (bias ? [weight, bias] : [weight])),
      ];
      const outcome = (y: Tensor): number[][] => {
        y.mul(y.detach()).sum().backward();
        const grads = leaves.map(({ grad }) => grad!.toNumbers());
        for (const one of leaves) one.zeroGrad();
        return [y.toNumbers(), ...grads];
      };
      const join = (rows: Tensor[]): Tensor => {
        const all = cat(rows, 0);
        if (heads === undefined) return all;
        const { shape } = all.narrow(0, 0, heads.paired);
        const pairs = all
          .narrow(0, 0, heads.paired)
          .view([-1, 2, heads.size / 2, ...shape.slice(1)])
          .transpose(1, 2)
          .reshape(shape);
        return cat([pairs, all.narrow(0, heads.paired, 16 - heads.paired)], 0);
      };
      const weight = join(parts.map((part) => part.weight));
      const bias = isBiased ? join(parts.map((part) => part.bias!)) : undefined;
      expect(outcome(joinedLinear(x, parts, heads))).toEqual(outcome(linear(x, weight, bias)));
    });
  });

  it("joined layers keep no second copy of their weights for the backward pass", () => {
    scope(() => {
      // Large enough that the allocator gives freed memory back to the system at once.
      const parts = [1, 2].map(() => ({ weight: zeros([1024, 4352]).requiresGrad_() }));
      const x = zeros([1, 4352]).requiresGrad_();
      joinedLinear(x, parts);
      const before = process.memoryUsage.rss();
      // 34 MiB each, if their joined weights stayed.
      const outputs = Array.from({ length: 8 }, () => joinedLinear(x, parts));
      expect(process.memoryUsage.rss() - before).toBeLessThan(100 * 2 ** 20);
      expect(outputs.every(({ requiresGrad }) => requiresGrad)).toBe(true);
    });
  });

  it("joined layers refuse what does not fit together", () => {
    scope(() => {
      const x = zeros([2, 4]);
      const [weight, bias] = [zeros([6, 4]), zeros([6])];
      expect(() => joinedLinear(x, [])).toThrow(/weights/);
      expect(() => joinedLinear(x, [{ weight: zeros([6, 3]) }])).toThrow(/\[out, 4\]/);
      expect(() => joinedLinear(x, [{ weight, bias }, { weight }])).toThrow(/bias/);
      expect(() => joinedLinear(x, [{ weight }], { paired: 6, size: 4 })).toThrow(/heads/);
    });
  });

  it("attention of some queries after others is attention of all", () => {
    expect.hasAssertions();
    scope(() => {
      const q = randn([2, 4, 7, 4]).requiresGrad_(true);
      const [k, v] = [randn([2, 2, 7, 4]), randn([2, 2, 7, 4])];
      const rows = ones([2, 1, 7, 7], { dtype: "bool" }).tril(1);
      const keys = ones([2, 1, 1, 7], { dtype: "bool" });
      for (const options of [{}, { isCausal: true }, { mask: rows }, { mask: keys }]) {
        // 2 · 4 · 7 scores a query: three queries at once, then one.
        for (const maxScores of [3 * 56, 1]) {
          const wanted = plainAttention(q, k, v, options);
          const got = plainAttention(q, k, v, options, maxScores);
          expectClose(got, wanted.toNumbers());
          const gradients = [got, wanted].map((mixed) => {
            mixed.mul(mixed).sum().backward();
            const gradient = q.grad!.toNumbers();
            q.grad!.zero_();
            return gradient;
          });
          expectClose(tensor(gradients[0]), gradients[1]);
        }
      }
    });
  });

  it("attention takes boolean and additive masks", () => {
    expect.hasAssertions();
    scope(() => {
      const [q, k, v] = [randn([1, 2, 3, 4]), randn([1, 2, 6, 4]), randn([1, 2, 6, 4])];
      const allowed = ones([3, 6], { dtype: "bool" }).tril(2);
      const added = zeros([3, 6]).maskedFill(allowed.logicalNot(), -Infinity);
      const wanted = plainAttention(q, k, v, { mask: added, scale: 0.3 }).toNumbers();
      expectClose(attention(q, k, v, { mask: allowed, scale: 0.3 }), wanted);
      expectClose(attention(q, k, v, { mask: added, scale: 0.3 }), wanted);
      expectClose(plainAttention(q, k, v, { mask: allowed, scale: 0.3 }), wanted);
    });
  });

  it.each([
    ["rmsNorm", rmsNorm],
    ["plainRmsNorm", plainRmsNorm],
  ])("%s and cross entropy follow PyTorch", (_, norm) => {
    scope(() => {
      const x = tensor(layers.x, { shape: [3, 6], requiresGrad: true });
      const w = tensor(layers.w, { requiresGrad: true });
      const n = norm(x, w, 1e-6);
      expectClose(n, layers.n);
      const targets = tensor([1, -100, 4], { dtype: "int64" });
      const loss = crossEntropy(n, targets);
      expect(loss.item()).toBeCloseTo(layers.loss, 5);
      loss.backward();
      expectClose(x.grad!, layers.gradX);
      expectClose(w.grad!, layers.gradW);
      const each = crossEntropy(n, targets, { reduction: "none" });
      expect(each.toNumbers()[1]).toBe(0);
      expect(each.sum().item()).toBeCloseTo(layers.loss * 2, 5);
    });
  });

  it("linear and layer norm do what their formulas say", () => {
    scope(() => {
      const x = tensor([[1, 2, 3]]);
      const w = tensor([
        [1, 0, 0],
        [1, 1, 1],
      ]);
      expect(linear(x, w, tensor([10, 20])).tolist()).toEqual([[11, 26]]);
      expect(linear(x, w).tolist()).toEqual([[1, 6]]);
      const root = Math.sqrt(1.5);
      expectClose(layerNorm(x, ones([3]), null, 0), [-root, 0, root]);
    });
  });
});
