/** Optimizers against trajectories recorded from PyTorch 2.13 (scripts/fixtures/torch_engine.py). */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fixture } from "./fixtures/torch.ts";
import { Muon, orthogonalize } from "./muon.ts";
import { AdamW, clipGradNorm, type Optimizer } from "./optim.ts";
import { eye, randn, type Tensor } from "./ops.ts";
import { liveTensors, scope } from "./scope.ts";
import { tensor } from "./tensor.ts";

interface Recorded {
  start: number[][];
  shapes: number[][];
  gradients: number[][][];
  after: number[][][];
}

function parametersOf({ start, shapes }: Recorded): Map<string, Tensor> {
  return new Map(
    start.map((data, i) => [`p${i}`, tensor(data, { shape: shapes[i]!, requiresGrad: true })]),
  );
}

function setGradients(parameters: ReadonlyMap<string, Tensor>, recorded: Recorded, step: number) {
  [...parameters.values()].forEach((parameter, i) => {
    scope(() => {
      parameter.grad = tensor(recorded.gradients[step]![i]!, { shape: recorded.shapes[i]! });
    });
  });
}

function expectClose(got: readonly number[], wanted: readonly number[], tolerance: number): void {
  expect(got.length).toBe(wanted.length);
  got.forEach((value, i) => expect(Math.abs(value - wanted[i]!)).toBeLessThan(tolerance));
}

function values(parameters: ReadonlyMap<string, Tensor>): number[] {
  return [...parameters.values()].flatMap((p) => p.toNumbers());
}

function adamwOf(parameters: ReadonlyMap<string, Tensor>, fused = true): AdamW {
  const [[name0, p0], [name1, p1]] = [...parameters] as [[string, Tensor], [string, Tensor]];
  return new AdamW(
    [
      { parameters: new Map([[name0, p0]]), weightDecay: 0.1 },
      { parameters: new Map([[name1, p1]]), weightDecay: 0 },
    ],
    { betas: [0.9, 0.95], fused },
  );
}

describe("AdamW", () => {
  let before = 0;
  beforeEach(() => {
    before = liveTensors();
  });
  afterEach(() => {
    const leaked = liveTensors() - before;
    if (leaked !== 0) throw new Error(`${leaked} tensors leaked`);
  });

  const { adamw } = fixture;
  it.each([true, false])("follows PyTorch over ten clipped steps (fused: %s)", (fused) => {
    const parameters = parametersOf(adamw);
    const optimizer = adamwOf(parameters, fused);
    adamw.rates.forEach((rate, step) => {
      setGradients(parameters, adamw, step);
      expect(clipGradNorm(parameters.values(), 3)).toBeCloseTo(adamw.norms[step]!, 5);
      optimizer.step(rate);
      expectClose(values(parameters), adamw.after[step]!.flat(), 2e-6);
    });
    free(parameters, optimizer);
  });

  it("resumes to the same bits from its saved state", () => {
    const [straight, resumed] = [parametersOf(adamw), parametersOf(adamw)];
    const first = adamwOf(straight);
    for (let step = 0; step < 4; step++) {
      setGradients(straight, adamw, step);
      first.step(0.01);
    }
    const second = adamwOf(resumed);
    second.loadState(first.state());
    for (const [name, p] of resumed)
      p.detach_().copy_(straight.get(name)!.detach_()).requiresGrad_();
    for (const p of straight.values()) p.requiresGrad_();
    for (const [parameters, optimizer] of [
      [straight, first],
      [resumed, second],
    ] as const) {
      setGradients(parameters, adamw, 5);
      optimizer.step(0.01);
    }
    expect(values(resumed)).toEqual(values(straight));
    expect(second.state().get("p0.steps")!.item()).toBe(5);
    expect(() => second.loadState(new Map())).toThrow("p0.mean is missing");
    free(straight, first);
    free(resumed, second);
  });

  it("steps half-precision parameters through float32 copies", () => {
    const weight = scope(() => tensor([1, 1], { dtype: "bfloat16" }).requiresGrad_());
    const optimizer = new AdamW([{ parameters: new Map([["w", weight]]) }], { weightDecay: 0 });
    for (let i = 0; i < 100; i++) {
      scope(() => {
        weight.grad = tensor([1, -1], { dtype: "bfloat16" });
      });
      optimizer.step(1e-4); // below bfloat16's resolution at 1: alone it would never move
    }
    expect(optimizer.state().get("w.master")!.dtype).toBe("float32");
    expectClose(weight.toNumbers(), [0.99, 1.01], 4e-3);
    free(new Map([["w", weight]]), optimizer);
  });

  it("leaves parameters without a gradient alone and counts their steps apart", () => {
    const parameters = parametersOf(adamw);
    const optimizer = adamwOf(parameters);
    setGradients(parameters, adamw, 0);
    parameters.get("p1")!.zeroGrad();
    optimizer.step(0.01);
    expect(parameters.get("p1")!.toNumbers()).toEqual(
      new Float32Array(adamw.start[1]!).reduce<number[]>((all, v) => [...all, v], []),
    );
    expect(optimizer.state().get("p0.steps")!.item()).toBe(1);
    expect(optimizer.state().get("p1.steps")!.item()).toBe(0);
    optimizer.zeroGrad();
    expect(clipGradNorm(parameters.values(), 1)).toBe(0);
    free(parameters, optimizer);
  });

  it("reports a norm that is not finite without scaling, and refuses a name given twice", () => {
    const x = tensor([1, 1], { requiresGrad: true });
    scope(() => {
      x.grad = tensor([Infinity, 1]);
    });
    expect(clipGradNorm([x], 1)).toBe(Infinity);
    scope(() => expect(x.grad!.toNumbers()).toEqual([Infinity, 1]));
    const group = { parameters: new Map([["x", x]]) };
    scope(() => expect(() => new AdamW([group, group])).toThrow("x comes twice"));
    x.dispose();
  });

  it("clips half precision together with single precision", () => {
    scope(() => {
      const a = tensor([0, 0], { requiresGrad: true });
      const b = tensor([0], { dtype: "bfloat16" }).requiresGrad_();
      a.grad = tensor([3, 0]);
      b.grad = tensor([4], { dtype: "bfloat16" });
      expect(clipGradNorm([a, b], 1)).toBeCloseTo(5, 5);
      expect(a.grad.item === undefined).toBe(false);
      expectClose(a.grad.toNumbers(), [0.6, 0], 1e-5);
      expectClose(b.grad.toNumbers(), [0.8], 4e-3);
    });
  });
});

describe("Muon", () => {
  const { muon } = fixture;
  it("follows the recorded reference and resumes", () => {
    const before = liveTensors();
    const parameters = parametersOf(muon);
    const optimizer = new Muon({ matrices: parameters, rest: [] }, { weightDecay: 0.1 });
    for (let step = 0; step < 3; step++) {
      setGradients(parameters, muon, step);
      optimizer.step(muon.lr);
      expectClose(values(parameters), muon.after[step]!.flat(), 1e-5);
    }
    const again = new Muon({ matrices: parameters, rest: [] });
    again.loadState(optimizer.state());
    expect(again.state().get("p1.momentum")!.toNumbers()).toEqual(
      optimizer.state().get("p1.momentum")!.toNumbers(),
    );
    again.dispose();
    free(parameters, optimizer);
    expect(liveTensors()).toBe(before);
  });

  it("orthogonalises batches, tall and wide", () => {
    scope(() => {
      for (const shape of [
        [3, 5, 16],
        [2, 16, 5],
      ]) {
        const matrices = orthogonalize(randn(shape), 5);
        const wide = shape[1]! < shape[2]! ? matrices : matrices.transpose(-2, -1);
        const gram = wide.matmul(wide.transpose(-2, -1));
        expect(gram.sub(eye(5)).abs().max().item()).toBeLessThan(0.6);
      }
    });
  });

  it("refuses vectors", () => {
    scope(() => {
      const matrices = new Map([["bias", tensor([1, 2])]]);
      expect(() => new Muon({ matrices, rest: [] })).toThrow("bias is float32[2], not a matrix");
    });
  });
});

function free(parameters: ReadonlyMap<string, Tensor>, optimizer: Optimizer): void {
  optimizer.dispose();
  for (const parameter of parameters.values()) parameter.dispose();
}
