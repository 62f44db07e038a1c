import { describe, expect, it } from "vitest";
import { cat, randn, zeros } from "./ops.ts";
import { liveTensors, noGrad, scope } from "./scope.ts";
import { Tape } from "./tape.ts";
import { tensor } from "./tensor.ts";

describe("Tape", () => {
  it("runs again on what its inputs hold then", () => {
    scope(() =>
      noGrad(() => {
        const x = tensor([1, 2, 3]);
        const sum = zeros([3]);
        const tape = new Tape(() => {
          const [a, b] = x.mul(2).view([3, 1]).repeat([1, 2]).split(1, 1);
          sum.add_(cat([a, b], 1).sum([1]));
          return [sum.clone(), x.narrow(0, 1, 2)];
        });
        expect(sum.tolist()).toEqual([4, 8, 12]);
        x.setBytes(Float32Array.of(1, 0, -1));
        const [total, part] = tape.run();
        expect(total.tolist()).toEqual([8, 8, 8]);
        expect(part.tolist()).toEqual([0, -1]);
        tape.run();
        expect(total.tolist()).toEqual([8, 8, 8]);
        expect(sum.tolist()).toEqual([12, 8, 4]);
        tape.dispose();
        expect(() => tape.run()).toThrow("disposed");
      }),
    );
  });

  it("gives the bits of the operators it recorded, and keeps its constants", () => {
    scope(() =>
      noGrad(() => {
        const x = randn([5, 16]);
        const body = () => [x.matmul(tensor([...Array(16).keys()]).to("float32")).softmax(-1)];
        const expected = body()[0].tolist();
        const tape = scope(() => new Tape(body));
        expect(tape.run()[0].tolist()).toEqual(expected);
        tape.dispose();
      }),
    );
  });

  it("says what failed, and where nothing can be recorded", () => {
    scope(() => {
      expect(() => new Tape(() => [])).toThrow("noGrad");
      noGrad(() => {
        const x = tensor([1, 2, 3]);
        const index = tensor(Int32Array.of(2));
        expect(() => new Tape(() => [x.mul(zeros([2]))])).toThrow("aten::mul");
        const tape = new Tape(() => [x.indexSelect(0, index)]);
        index.setBytes(BigInt64Array.of(7n));
        expect(() => tape.run()).toThrow("aten::index_select");
        index.setBytes(BigInt64Array.of(0n));
        expect(tape.run()[0].tolist()).toEqual([1]);
        expect(() => index.setBytes(new Uint8Array(3))).toThrow("3 bytes");
        tape.dispose();
      });
    });
  });

  it("holds no handles of its own", () => {
    const before = liveTensors();
    const tape = scope(() => noGrad(() => new Tape(() => [zeros([4]).add(1)])));
    expect(liveTensors()).toBe(before);
    scope(() => noGrad(() => expect(tape.run()[0].tolist()).toEqual([1, 1, 1, 1])));
    tape.dispose();
    expect(liveTensors()).toBe(before);
  });
});
