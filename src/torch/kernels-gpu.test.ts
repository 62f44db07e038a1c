/** Operators of our own on a GPU, and flash attention of packed rows, beside their plain forms. */
import { beforeEach, describe, expect, it } from "vitest";
import { testDevice } from "../../test/fixtures/device.ts";
import { manualSeed } from "./device.ts";
import { gpuKernelsFault } from "./gpu-kernels.ts";
import { kernels } from "./kernels.ts";
import { plainSwiglu } from "./nn.ts";
import { cat, randn, zeros, type Tensor } from "./ops.ts";
import { noGrad, scope } from "./scope.ts";
import { tensor } from "./tensor.ts";
import { hasVarlen, plainVarlen, spansOf, varlenAttention } from "./varlen.ts";

const device = testDevice;
const options = { device, dtype: "bfloat16" } as const;

beforeEach(() => manualSeed(1));

/** Largest difference, relative to the largest value. */
function difference(a: Tensor, b: Tensor): number {
  const [x, y] = [a, b].map((value) => value.detach().to("float32"));
  return x.sub(y).abs().max().item() / y.abs().max().item();
}

describe("attention of packed rows", () => {
  const lengths = [5, 17, 1, 40];
  it.each([true, false])("agrees with the plain form, causal %s, with gradients", (causal) => {
    const isGpu = device !== "cpu";
    expect(hasVarlen("bfloat16", device, 16)).toBe(isGpu);
    scope(() => {
      const spans = spansOf(lengths, device);
      const own = { queries: spans, keys: spans, causal };
      const data = [4, 2, 2].map((heads) => randn([63, heads, 16], options));
      const [one, other] = [varlenAttention, plainVarlen].map((form) => {
        const [q, k, v] = data.map((part) => part.detach().clone().requiresGrad_());
        const mixed = form(q, k, v, own);
        mixed.to("float32").square().sum().backward();
        return { mixed, gradients: [q.grad!, k.grad!, v.grad!] };
      });
      expect(difference(one.mixed, other.mixed)).toBeLessThan(0.02);
      for (const [i, gradient] of one.gradients.entries())
        expect(difference(gradient, other.gradients[i])).toBeLessThan(0.03);
    });
  });

  it("reads keys where each sequence has its own, as many as it holds", () => {
    scope(() =>
      noGrad(() => {
        const cache = randn([100, 2, 2, 16], options);
        const [keys, values] = [cache.select(1, 0), cache.select(1, 1)];
        const held = {
          starts: tensor(Int32Array.of(60, 0, 30, 100), { dtype: "int32", device }),
          lengths: tensor(Int32Array.of(21, 7, 30), { dtype: "int32", device }),
          longest: 40,
        };
        for (const counts of [
          [1, 1, 1],
          [4, 7, 30],
        ]) {
          const queries = spansOf(counts, device);
          const query = randn([counts.reduce((a, b) => a + b), 4, 16], options);
          const own = { queries, keys: held, causal: true };
          const [one, other] = [varlenAttention, plainVarlen].map((form) =>
            form(query, keys, values, own),
          );
          expect(difference(one, other)).toBeLessThan(0.02);
        }
      }),
    );
  });
});

describe.skipIf(device === "cpu")("kernels of our own on a GPU", () => {
  it("compile, and agree where they are tried out", () => expect(gpuKernelsFault(device)).toBe(""));

  it.each([16, 48, 22_016])("SwiGLU of rows of %i, with its gradient", (width) => {
    scope(() => {
      const data = randn([37, width], options);
      const [one, other] = [kernels.swiglu, plainSwiglu].map((form) => {
        const x = data.detach().clone().requiresGrad_();
        const y = form(x);
        y.to("float32").square().sum().backward();
        return { y, gradient: x.grad! };
      });
      expect(difference(one.y, other.y)).toBeLessThan(0.01);
      expect(difference(one.gradient, other.gradient)).toBeLessThan(0.02);
    });
  });

  /** Heads in float32, as the formula says. */
  function rotated(qkv: Tensor, factors: Tensor, numTurned: number, size: number): Tensor {
    const heads = qkv.to("float32").view([qkv.size(0), -1, size]);
    const pairs = heads.narrow(1, 0, numTurned).contiguous().unflatten(2, [-1, 2]);
    const turned = pairs.viewAsComplex().mul(factors.unsqueeze(1)).viewAsReal().flatten(2);
    return cat([turned, heads.narrow(1, numTurned, heads.size(1) - numTurned)], 1);
  }

  it.each([
    { size: 128, numHeads: 16, numKeys: 2 },
    { size: 80, numHeads: 3, numKeys: 3 },
    { size: 8, numHeads: 1, numKeys: 1 },
  ])("heads of $size, with their gradient and in a cache", ({ size, numHeads, numKeys }) => {
    scope(() => {
      const numRows = 29;
      const width = (numHeads + 2 * numKeys) * size;
      const data = randn([numRows, width], options);
      const factors = randn([numRows, size / 2, 2], { device }).viewAsComplex();
      const [mine, plain] = [1, 2].map(() => data.detach().clone().requiresGrad_());
      const all = cat(kernels.headsFlat(mine, factors, numHeads, numKeys), 1);
      const expected = rotated(plain, factors, numHeads + numKeys, size);
      expect(difference(all, expected)).toBeLessThan(0.01);
      const slope = randn(all.shape, { device });
      for (const value of [all.to("float32"), expected]) value.mul(slope).sum().backward();
      expect(difference(mine.grad!, plain.grad!)).toBeLessThan(0.02);

      noGrad(() => {
        const cache = zeros([64, 2 * numKeys * size], options);
        const order = Int32Array.from({ length: numRows }, (_, i) => 2 * (numRows - 1 - i));
        const places = tensor(order, { dtype: "int64", device });
        const turns = tensor(
          Int32Array.from({ length: numRows }, (_, i) => (i * 5) % numRows),
          { dtype: "int64", device },
        );
        const counts = [numHeads, numKeys] as const;
        for (const rotation of [{ factors }, { factors, turns }]) {
          const own = rotation.turns === undefined ? factors : factors.indexSelect(0, turns);
          const wanted = rotated(data, own, numHeads + numKeys, size);
          const queries = kernels.cacheHeads(data, rotation, places, cache, counts);
          expect(difference(queries, wanted.narrow(1, 0, numHeads))).toBeLessThan(0.01);
          const held = cache.indexSelect(0, places).view([numRows, 2 * numKeys, size]);
          expect(difference(held, wanted.narrow(1, numHeads, 2 * numKeys))).toBeLessThan(0.01);
        }
      });
    });
  });

  it.each([
    { numHeads: 16, numKeys: 2, lengths: [1, 37, 512, 513, 1500], longest: 2048 },
    { numHeads: 4, numKeys: 4, lengths: [3, 500], longest: 512 },
    { numHeads: 7, numKeys: 1, lengths: [1300], longest: 1400 },
  ])("a step of $numHeads heads on $numKeys over $lengths", (given) => {
    const { numHeads, numKeys, lengths, longest } = given;
    scope(() =>
      noGrad(() => {
        const count = lengths.length;
        const row = 2 * numKeys * 128;
        const cache = randn([count * longest, row], options);
        const data = randn([count, numHeads * 128 + row], options);
        const factors = randn([50, 64, 2], { device }).viewAsComplex();
        const int = (values: number[], dtype: "int32" | "int64"): Tensor =>
          tensor(Int32Array.from(values), { dtype, device });
        const turns = int([4, 9, 0, 49, 11].slice(0, count), "int64");
        const first = lengths.map((_, i) => i * longest);
        const places = int(
          first.map((start, i) => start + lengths[i] - 1),
          "int64",
        );
        const held = {
          starts: int([...first, count * longest], "int32"),
          lengths: int(lengths, "int32"),
        };
        const counts = [numHeads, numKeys] as const;
        const other = cache.clone();
        const queries = kernels.cacheHeads(data, { factors, turns }, places, other, counts);
        const all = other.view([count * longest, 2, numKeys, 128]);
        const expected = plainVarlen(
          queries.to("float32"),
          all.select(1, 0).to("float32"),
          all.select(1, 1).to("float32"),
          {
            queries: spansOf(
              lengths.map(() => 1),
              device,
            ),
            keys: { ...held, longest },
            causal: true,
          },
        ).flatten(1);
        const ended = zeros([count * numKeys], { dtype: "int32", device });
        for (let again = 0; again < 3; again++) {
          const rotation = { factors, turns };
          const mixed = kernels.attendRows(data, rotation, held, cache, ended, longest, counts);
          expect(difference(mixed, expected)).toBeLessThan(0.01);
          expect(ended.abs().max().item()).toBe(0);
        }
        expect(difference(cache, other)).toBeLessThan(0.01);
      }),
    );
  });
});
