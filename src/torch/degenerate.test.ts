/** Shapes and values that nobody means: each is an empty result or an error, never a signal. */
import { expect, test } from "vitest";
import { dtypeCodes } from "./dtype.ts";
import { kernels } from "./kernels.ts";
import { native } from "./native.ts";
import { ones, zeros } from "./ops.ts";
import { scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

const turns = (rows: number, pairs: number) => zeros([rows, pairs, 2]).viewAsComplex();

test("an empty last axis is an empty result", () => {
  scope(() => {
    expect(kernels.swiglu(zeros([3, 0])).shape).toEqual([3, 0]);
    expect(kernels.rmsNorm(zeros([2, 0]), zeros([0]), 1e-6).shape).toEqual([2, 0]);
    const rows = tensor([0, 2], { dtype: "int64" });
    expect(kernels.takeRows(zeros([4, 0]), rows).shape).toEqual([2, 0]);
  });
});

test("rows before the first are zeros, and all where there is none", () => {
  scope(() => {
    for (const taken of [[2], []]) {
      const rows = tensor(taken, { shape: [taken.length], dtype: "int64" });
      const qkv = ones([taken.length, 12]);
      const parts = kernels.heads(qkv, turns(taken.length, 2), 1, 1, { rows, numRows: 4 });
      for (const part of parts) {
        expect(part.shape).toEqual([4, 1, 4]);
        expect(part.narrow(0, 0, 2).toNumbers()).toEqual(Array(8).fill(0));
      }
    }
  });
});

test("heads that do not fit are refused", () => {
  scope(() => {
    for (const [heads, keyHeads] of [
      [0, 1],
      [1, 0],
      [2 ** 62, 2 ** 62],
      [3, 3],
    ]) {
      expect(() => kernels.heads(ones([1, 12]), turns(1, 2), heads, keyHeads)).toThrow(/qkv must/);
    }
    const rows = tensor([0, 0, 0, 0, 0], { shape: [1, 5], dtype: "int64" });
    const attend = (keyHeads: number, numHeads: number, factors = turns(1, 2)) =>
      kernels.attendCached(
        ones([1, 12]),
        factors,
        { keys: zeros([1, keyHeads, 1, 4, 16]), values: zeros([1, keyHeads, 16, 4]) },
        rows,
        numHeads,
      );
    expect(attend(1, 1).shape).toEqual([1, 4]);
    expect(() => attend(0, 1)).toThrow(/heads/);
    expect(() => attend(1, 0)).toThrow(/heads/);
    expect(() => attend(1, 2 ** 62)).toThrow(/heads/);
    expect(() => attend(1, 1, zeros([1, 2]).viewAsComplex())).toThrow(/do not fit together/);
  });
});

test("the raw entries refuse what they cannot hold", () => {
  const bytes = new Float32Array(1);
  const float32 = dtypeCodes.float32;
  for (const dtype of [-1, 200, 2 ** 40])
    expect(() => native.fromBytes(bytes, [1], dtype)).toThrow(/no dtype/);
  expect(() => native.fromBytes(bytes, [2 ** 40, 2 ** 40], float32)).toThrow(/more elements/);
  expect(() => native.fromBytes(bytes, [0.5], float32)).toThrow(/list of integers/);
  expect(() => native.releaseMany(new Int32Array(1), 2 ** 62)).toThrow(/too large/);
  expect(() => native.backward([0])).toThrow(/no tensor/);
  expect(() => native.call(native.op("aten::zeros"), [1], 200)).toThrow(/dtype/);
});

test("lists whose getters throw, or call operators, are errors", () => {
  scope(() => {
    const list = (get: () => number) => Object.defineProperty([0], 0, { get }) as number[];
    const failing = list(() => {
      throw new Error("a getter of its own");
    });
    expect(() => native.fromBytes(new Float32Array(1), failing, 6)).toThrow("of its own");
    const sum = native.op("aten::sum", "dim_IntList");
    const { id } = ones([2, 2]);
    expect(() => native.call(sum, id, failing)).toThrow("of its own");
    const nested = list(() => {
      native.run(sum, id, [1]);
      return 0;
    });
    expect(() => native.call(sum, id, nested)).toThrow(/call operators themselves/);
  });
});
