import { describe, expect, it } from "vitest";
import { testDevice as device } from "../../test/fixtures/device.ts";
import { stream } from "../core/random.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import { chunksOf, deltaRule, deltaStep_, type DeltaInputs } from "./delta-rule.ts";
import { maxDifference } from "./fixtures/golden.ts";

const sizes = { numKeyHeads: 2, numValueHeads: 4, keyDim: 6, valueDim: 10 };

function inputsOf(seed: number, length: number): DeltaInputs {
  const random = stream(seed, "delta");
  const draw = (width: number, of: (normal: number) => number = (x) => x): Tensor => {
    const data = Float32Array.from({ length: length * width }, () => of(random.normal()));
    return tensor(data, { shape: [length, width], device });
  };
  return {
    queries: draw(12),
    keys: draw(12),
    values: draw(40),
    rates: draw(4, (x) => 1 / (1 + Math.exp(-x))),
    decays: draw(4, (x) => -Math.exp(x - 2)),
  };
}

function joined(parts: readonly DeltaInputs[]): DeltaInputs {
  const all = (key: keyof DeltaInputs): Tensor =>
    cat(
      parts.map((part) => part[key]),
      0,
    );
  return {
    queries: all("queries"),
    keys: all("keys"),
    values: all("values"),
    rates: all("rates"),
    decays: all("decays"),
  };
}

function rowsOf(inputs: DeltaInputs, start: number, count: number): DeltaInputs {
  const own = (x: Tensor): Tensor => x.narrow(0, start, count);
  const { queries, keys, values, rates, decays } = inputs;
  return {
    queries: own(queries),
    keys: own(keys),
    values: own(values),
    rates: own(rates),
    decays: own(decays),
  };
}

const run = <T>(fn: () => T): T => noGrad(() => scope(fn));
const numbers = (x: Tensor): number[] => x.toNumbers();

describe("the gated delta rule", () => {
  it.each([1, 2, 63, 64, 65, 200])("over %i positions is that of one after another", (length) =>
    run(() => {
      const inputs = inputsOf(length, length);
      const { mixed, memories } = deltaRule(inputs, sizes, chunksOf([length], device));
      const memory = memories.mul(0);
      const steps = Array.from({ length }, (_, t) => {
        const { decays, ...rest } = rowsOf(inputs, t, 1);
        return numbers(deltaStep_({ ...rest, decays: decays.exp() }, sizes, memory));
      });
      expect(maxDifference(numbers(mixed), steps.flat())).toBeLessThan(2e-5);
      expect(maxDifference(numbers(memories), numbers(memory))).toBeLessThan(2e-5);
    }),
  );

  it("does not let sequences that lie side by side meet", () =>
    run(() => {
      const lengths = [70, 3, 64, 190, 1];
      const parts = lengths.map((length, s) => inputsOf(s, length));
      const together = deltaRule(joined(parts), sizes, chunksOf(lengths, device));
      let start = 0;
      for (const [s, length] of lengths.entries()) {
        const alone = deltaRule(parts[s], sizes, chunksOf([length], device));
        const own = together.mixed.narrow(0, start, length);
        expect(maxDifference(numbers(own.contiguous()), numbers(alone.mixed))).toBeLessThan(1e-5);
        const memory = together.memories.narrow(0, s, 1).contiguous();
        expect(maxDifference(numbers(memory), numbers(alone.memories))).toBeLessThan(1e-5);
        start += length;
      }
      const changed = [inputsOf(9, 70), ...parts.slice(1)];
      const again = deltaRule(joined(changed), sizes, chunksOf(lengths, device));
      const others = (x: Tensor): number[] => numbers(x.narrow(0, 70, 258).contiguous());
      expect(others(again.mixed)).toEqual(others(together.mixed));
    }));

  it("goes on from memories, each sequence from its own", () =>
    run(() => {
      const [one, other] = [inputsOf(1, 150), inputsOf(2, 90)];
      const cuts = [
        [100, 50],
        [20, 70],
      ];
      const piece = (i: 0 | 1): DeltaInputs =>
        joined([one, other].map((all, s) => rowsOf(all, i === 0 ? 0 : cuts[s][0], cuts[s][i])));
      const first = deltaRule(piece(0), sizes, chunksOf([100, 20], device));
      const second = deltaRule(piece(1), sizes, chunksOf([50, 70], device), first.memories);
      const whole = deltaRule(joined([one, other]), sizes, chunksOf([150, 90], device));
      expect(maxDifference(numbers(second.memories), numbers(whole.memories))).toBeLessThan(1e-5);
      const last = whole.mixed.narrow(0, 170, 70).contiguous();
      const own = second.mixed.narrow(0, 50, 70).contiguous();
      expect(maxDifference(numbers(own), numbers(last))).toBeLessThan(1e-5);
    }));
});
