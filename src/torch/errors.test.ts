/** Misuse gives a JavaScript error that names the operator and the argument, never a crash. */
import { describe, expect, it } from "vitest";
import { native } from "./native.ts";
import { cat, zeros, type Tensor } from "./ops.ts";
import { scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

describe("errors of the tensor engine", () => {
  it("names the operator and the shapes that do not fit", () => {
    scope(() => {
      const [a, b] = [zeros([2, 3]), zeros([4, 5])];
      expect(() => a.matmul(b)).toThrow(
        /^aten::matmul: .*\(2x3 and 4x5\) \(float32\[2,3\], float32\[4,5\]\)$/,
      );
      expect(() => cat([a, b], 0)).toThrow(/aten::cat: .*\(float32\[2,3\], float32\[4,5\]\)/);
      expect(() => a.view([7])).toThrow(/aten::view: .*\[7\]/);
    });
  });

  it("refuses a tensor that was disposed of", () => {
    const x = tensor([1, 2]);
    x.dispose();
    x.dispose();
    expect(x.isDisposed).toBe(true);
    expect(() => x.add(1)).toThrow("argument 'self' is a tensor that was disposed of");
    expect(() => x.shape).toThrow("disposed");
    expect(() => x.item()).toThrow("disposed");
    const escaped = scope(() => ({ run: tensor([1]) as Tensor })).run;
    const inner: Tensor[] = [];
    scope(() => void inner.push(escaped.add(1)));
    expect(() => inner[0]!.add(1)).toThrow("disposed");
    escaped.dispose();
  });

  it("refuses arguments of the wrong type", () => {
    const add = native.op("aten::add", "Tensor");
    const view = native.op("aten::view");
    const sum = native.op("aten::sum", "dim_IntList");
    const id = native.fromBytes(new Float32Array(2), [2], 6);
    expect(() => native.call(add, id, "two")).toThrow("argument 'other' must be a tensor");
    expect(() => native.call(add, id, null)).toThrow("argument 'other' must be a tensor");
    expect(() => native.call(add, id)).toThrow("argument 'other' is missing");
    expect(() => native.call(add, id, 12345)).toThrow("disposed");
    expect(() => native.call(add, id, -1)).toThrow("disposed");
    expect(() => native.call(add, id, Number.NaN)).toThrow("disposed");
    expect(() => native.call(add, id, id, 1, 2, 3)).toThrow("takes 3 arguments, got 5");
    expect(() => native.call(view, id, [1.5])).toThrow("must be a list of integers");
    expect(() => native.call(view, id, {} as unknown as number)).toThrow("a list of integers");
    expect(() => native.call(sum, id, [0], 1)).toThrow("'keepdim' must be a boolean");
    expect(() => native.call(99999, id)).toThrow("no such operator index");
    expect(() => native.call(native.op("aten::no_such_operator"), id)).toThrow(
      /aten::no_such_operator: this libtorch \([\d.]+\) has no such operator/,
    );
    expect(() => native.fromBytes(new Float32Array(3), [2], 6)).toThrow("12 bytes");
    expect(() => native.fromBytes(new Float32Array(1), [-1], 6)).toThrow("negative");
    expect(() => native.fromBytes("x" as unknown as Uint8Array, [1], 0)).toThrow("typed array");
    native.release(id);
    native.release(id);
  });

  it("refuses ragged data, wrong shapes and unsafe integers", () => {
    expect(() => tensor([[1, 2], [3]])).toThrow("not rectangular");
    expect(() => tensor([1, [2]])).toThrow("not rectangular");
    expect(() => tensor(new Float32Array(4), { shape: [3] })).toThrow("bytes");
    expect(() => tensor(new Uint16Array(1))).toThrow("float16 or bfloat16");
    scope(() => {
      expect(() => tensor(new BigInt64Array([2n ** 60n])).item()).toThrow("does not fit");
      expect(() => tensor([1, 2]).item()).toThrow("float32[2]");
      expect(() => tensor([1], { dtype: "int64", requiresGrad: true })).toThrow(/floating/);
      expect(() => tensor([1]).backward()).toThrow(/grad/);
      expect(() => tensor([1]).to("cuda:99")).toThrow("aten::to");
      const x = tensor([1, 2], { requiresGrad: true });
      expect(() => {
        x.grad = tensor([1]);
      }).toThrow("does not fit");
    });
  });
});
