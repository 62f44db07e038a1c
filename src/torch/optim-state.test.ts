/** AdamW on the forms of its state that save memory, against the one that does not. */
import { describe, expect, it } from "vitest";
import { stream } from "../core/random.ts";
import { codesOf, storedMoment, wholeState, type StateForm } from "./optim-state.ts";
import { AdamW } from "./optim.ts";
import type { Tensor } from "./ops.ts";
import { noGrad, scope } from "./scope.ts";
import { tensor, type DType } from "./tensor.ts";

const numbers = (count: number, key: string, scale = 1): Float32Array => {
  const random = stream(1, "optim-state", key);
  return Float32Array.from({ length: count }, () => scale * random.normal());
};

const shapes = [[40, 30], [7], [256, 5]];

interface Run {
  readonly weights: number[];
  readonly state: Map<string, number[]>;
}

/** Twenty steps, on gradients whose sizes differ widely; saved and loaded into another after some. */
function run(form: StateForm, dtype: DType, resumeAt?: number): Run {
  const parameters = new Map(
    shapes.map((shape, i) => {
      const count = shape.reduce((a, b) => a * b, 1);
      const data = tensor(numbers(count, `p${i}`), { shape })
        .to(dtype)
        .keep();
      return [`p${i}`, data] as const;
    }),
  );
  const make = () => new AdamW([{ parameters }], { form, weightDecay: 0.01, betas: [0.9, 0.99] });
  let adam = scope(make);
  for (let step = 0; step < 20; step++) {
    if (step === resumeAt) {
      const next = scope(make);
      scope(() => next.loadState(adam.state()));
      adam.dispose();
      adam = next;
    }
    scope(() => {
      const gradients = new Map(
        [...parameters].map(([name, parameter]) => {
          const scale = name === "p2" ? 1e-4 : 1;
          const data = numbers(parameter.numel, `g${name}${step}`, scale);
          return [parameter, tensor(data, { shape: [...parameter.shape] })] as const;
        }),
      );
      adam.step(1e-2, (parameter: Tensor) => gradients.get(parameter) ?? null);
    });
  }
  const weights = [...parameters.values()].flatMap((one) => one.toNumbers());
  const state = scope(
    () => new Map([...adam.state()].map(([name, kept]) => [name, kept.toNumbers()])),
  );
  adam.dispose();
  for (const parameter of parameters.values()) parameter.dispose();
  return { weights, state };
}

function gap(a: Run, b: Run): number {
  const differences = a.weights.map((value, i) => Math.abs(value - b.weights[i]));
  return differences.reduce((sum, value) => sum + value, 0) / differences.length;
}

const plain: StateForm = wholeState;
/** What twenty steps of 0.01 can move a weight. */
const moved = 0.2;

describe.each([
  [{ ...plain, moments: "bfloat16" }, 0.01],
  [{ ...plain, moments: "int8" }, 0.02],
  [{ ...plain, moments: "int8", place: "cpu" }, 0.02],
] as const)("moments %j", (form, share) => {
  it("take weights nearly where float32 takes them, and resume to the same bits", () => {
    const own = run(form, "float32");
    expect(gap(own, run(plain, "float32"))).toBeLessThan(share * moved);
    expect(run(form, "float32", 7)).toEqual(own);
  });
});

describe("weights in bfloat16", () => {
  const exact = run(plain, "float32");
  const forms = {
    master: run(plain, "bfloat16"),
    kahan: run({ ...plain, masters: "kahan" }, "bfloat16"),
    none: run({ ...plain, masters: "none" }, "bfloat16"),
  };

  it("lose what is small without a master or what rounding took", () => {
    expect(gap(forms.kahan, forms.master)).toBeLessThan(0.2 * gap(forms.none, forms.master));
    expect(gap(forms.master, exact)).toBeLessThan(0.01);
  });

  it("keep in two halves nearly what a master holds", () => {
    const lost = [...forms.kahan.state].filter(([name]) => name.endsWith(".lost"));
    const masters = [...forms.master.state].filter(([name]) => name.endsWith(".master"));
    expect(lost).toHaveLength(shapes.length);
    const sums = lost
      .flatMap(([, values]) => values)
      .map((value, i) => value + forms.kahan.weights[i]);
    const held = masters.flatMap(([, values]) => values);
    const differences = sums.map((value, i) => Math.abs(value - held[i]));
    expect(Math.max(...differences)).toBeLessThan(2e-3);
    expect(run({ ...plain, masters: "kahan" }, "bfloat16", 11)).toEqual(forms.kahan);
  });

  it("say what a state was saved with", () => {
    const parameters = new Map([["p", tensor([1, 2])]]);
    const [eight, whole] = [{ ...plain, moments: "int8" } as const, plain].map(
      (form) => new AdamW([{ parameters }], { form }),
    );
    expect(() => eight.loadState(whole.state())).toThrow(/p\.mean is (missing|float32)/);
    for (const one of [eight, whole]) one.dispose();
  });
});

it("8 bits keep zeros, signs, and what is a millionth of the largest", () => {
  for (const kind of ["mean", "square"] as const) {
    const values = [0, 1, 1e-6, 0.5, 0.03, ...(kind === "mean" ? [-1e-7, -0.7] : [1e-9])];
    const all = Float32Array.from({ length: 300 }, (_, i) => values[i % values.length]);
    noGrad(() =>
      scope(() => {
        const like = tensor(all);
        const stored = storedMoment(like, { ...plain, moments: "int8" }, kind);
        stored.store(0, 300, like);
        const back = stored.load(0, 300).toNumbers();
        for (const [i, value] of all.entries()) {
          expect(Math.sign(back[i])).toBe(Math.sign(value));
          if (Math.abs(value) > 0.01) expect(back[i] / value).toBeCloseTo(1, 1);
        }
      }),
    );
  }
  expect(new Set(codesOf(true)).size).toBe(256);
  expect(new Set(codesOf(false)).size).toBe(256);
});
