import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DType } from "./dtype.ts";
import { scope } from "./scope.ts";
import { tensor, tensorFromBytes } from "./tensor.ts";

describe("tensors from and to JavaScript", () => {
  it("keeps values, shapes and default dtypes", () => {
    scope(() => {
      const cases: [Parameters<typeof tensor>[0], DType][] = [
        [new Float32Array([1.5, -2]), "float32"],
        [new Float64Array([1.5, -2]), "float32"],
        [new Int32Array([1, -2]), "int64"],
        [new BigInt64Array([1n, -2n]), "int64"],
        [new Int16Array([1, -2]), "int16"],
        [new Int8Array([1, -2]), "int8"],
        [new Uint8Array([1, 2]), "uint8"],
        [[true, false], "bool"],
        [[1, 2], "float32"],
      ];
      for (const [data, dtype] of cases) {
        const made = tensor(data);
        expect(made.dtype).toBe(dtype);
        expect(made.shape).toEqual([2]);
        expect(made.toNumbers()).toEqual(Array.from(data as number[], Number));
      }
      expect(tensor(7).shape).toEqual([]);
      expect(tensor(7).tolist()).toBe(7);
      expect(tensor([]).shape).toEqual([0]);
      expect(tensor([[], []]).tolist()).toEqual([[], []]);
      expect(tensor([2 ** 40 + 1], { dtype: "int64" }).item()).toBe(2 ** 40 + 1);
      expect(tensor(new Uint8Array([0, 3]), { dtype: "bool" }).toNumbers()).toEqual([0, 1]);
    });
  });

  it("takes and gives half precision as bits and as floats", () => {
    scope(() => {
      const bf16 = tensor(new Uint16Array([0x3fc0, 0xc000]), { dtype: "bfloat16" });
      expect(bf16.toArray()).toEqual(new Float32Array([1.5, -2]));
      expect([...bf16.toBytes()]).toEqual([0xc0, 0x3f, 0x00, 0xc0]);
      const f16 = tensor([1.5, -2], { dtype: "float16" });
      expect([...new Uint16Array(f16.toBytes().buffer)]).toEqual([0x3e00, 0xc000]);
      const again = tensorFromBytes(f16.toBytes(), [2, 1], "float16");
      expect(again.tolist()).toEqual([[1.5], [-2]]);
    });
  });

  it("round-trips any float32 array in any shape", () => {
    fc.assert(
      fc.property(fc.float32Array({ noNaN: true, maxLength: 24 }), (data) => {
        scope(() => {
          const made = tensor(data, { shape: [1, data.length, 1] });
          expect(made.toArray()).toEqual(data);
          expect((made.tolist() as number[][][])[0]!.flat()).toEqual([...data]);
          expect(made.transpose(0, 1).toArray()).toEqual(data);
        });
      }),
    );
  });

  it("reads transposed views in row-major order", () => {
    scope(() => {
      const x = tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]).t();
      expect(x.isContiguous()).toBe(false);
      expect(x.toNumbers()).toEqual([1, 4, 2, 5, 3, 6]);
      expect(x.size(-1)).toBe(2);
      expect(() => x.size(2)).toThrow(RangeError);
    });
  });
});
