import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AdamW, clipGradNorm } from "./optim.ts";
import { randn, type Tensor } from "./ops.ts";
import { enableGrad, liveBytes, liveTensors, noGrad, scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

describe("scopes", () => {
  let before = 0;
  beforeEach(() => {
    before = liveTensors();
  });
  afterEach(() => {
    const leaked = liveTensors() - before;
    if (leaked !== 0) throw new Error(`${leaked} tensors leaked`);
  });

  it("frees what is made inside and hands out what is returned", () => {
    const { list, table, n } = scope(() => {
      const a = tensor([1]);
      const b = a.add(1);
      a.mul(3);
      return { list: [a], table: new Map([["b", { b }]]), n: 5 };
    });
    expect(liveTensors()).toBe(before + 2);
    expect([list[0]!.item(), table.get("b")!.b.item(), n]).toEqual([1, 2, 5]);
    list[0]!.dispose();
    table.get("b")!.b.dispose();
  });

  it("nests: what an inner scope returns belongs to the outer one", () => {
    let escaped: Tensor | undefined;
    scope(() => {
      escaped = scope(() => tensor([1]).add(tensor([2])));
      expect(liveTensors()).toBe(before + 1);
    });
    expect(escaped!.isDisposed).toBe(true);
  });

  it("frees everything when the function throws, and leaves kept tensors alone", () => {
    const kept: Tensor[] = [];
    expect(() =>
      scope(() => {
        kept.push(tensor([1]).keep());
        tensor([2]);
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(kept[0]!.item()).toBe(1);
    kept[0]!.dispose();
  });

  it("refuses promises", () => {
    expect(() => scope(async () => await Promise.resolve(tensor([1])))).toThrow("async");
    expect(() => noGrad(async () => await Promise.resolve(1))).toThrow("async");
  });

  it("restores grad mode whatever happens", () => {
    scope(() => {
      const x = tensor([1], { requiresGrad: true });
      noGrad(() => {
        expect(x.mul(2).requiresGrad).toBe(false);
        enableGrad(() => expect(x.mul(2).requiresGrad).toBe(true));
        expect(() =>
          enableGrad(() => {
            throw new Error("x");
          }),
        ).toThrow("x");
        expect(x.mul(2).requiresGrad).toBe(false);
      });
      expect(x.mul(2).requiresGrad).toBe(true);
    });
  });

  it("holds tensors and bytes constant over a thousand training steps", () => {
    const weight = randn([8, 8]).requiresGrad_();
    const optimizer = new AdamW([{ parameters: new Map([["w", weight]]) }]);
    const step = (): number =>
      scope(() => {
        const x = randn([4, 8]);
        const loss = x.matmul(weight).tanh().sub(x).square().mean();
        optimizer.zeroGrad();
        loss.backward();
        clipGradNorm([weight], 1);
        optimizer.step(1e-2);
        return loss.item();
      });
    step();
    const [tensors, bytes] = [liveTensors(), liveBytes()];
    for (let i = 0; i < 1000; i++) step();
    expect([liveTensors(), liveBytes()]).toEqual([tensors, bytes]);
    optimizer.dispose();
    weight.dispose();
  });
});
