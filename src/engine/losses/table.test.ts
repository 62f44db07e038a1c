import fc from "fast-check";
import { expect, test } from "vitest";
import type { Datum } from "../types.ts";
import { wide } from "./fixtures/one-token.ts";
import { checkDatum, datumLoss, policyLosses, type Loss, type PolicyLossName } from "./table.ts";

const options = { clipLow: 0.2, clipHigh: 0.28, dualClip: null, klCoef: 0.05, onPolicy: false };
const names = Object.keys(policyLosses) as PolicyLossName[];

const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const numbers = (min: number, max: number) =>
  fc.array(number(min, max), { minLength: 5, maxLength: 5 });
const data = fc.record({
  logprobs: numbers(-3, 0),
  oldLogprobs: numbers(-3, 0),
  refLogprobs: numbers(-3, 0),
  advantages: numbers(-2, 2),
  importance: numbers(0, 2),
  weights: fc.array(number(0.1, 1), { minLength: 5, maxLength: 5 }),
});

function datumOf(x: typeof data extends fc.Arbitrary<infer T> ? T : never): Datum {
  return {
    chunks: [],
    weights: wide(x.weights.map((weight, t) => (t === 0 || t === 3 ? 0 : weight))),
    oldLogprobs: wide(x.oldLogprobs),
    refLogprobs: wide(x.refLogprobs),
    advantages: wide(x.advantages),
    importance: wide(x.importance),
  };
}

test.each(["grpo", "gspo"] as const)("%s: the gradient is the slope of the loss", (kind) => {
  fc.assert(
    fc.property(data, (x) => {
      const datum = datumOf(x);
      const at = (logprobs: readonly number[]) =>
        datumLoss({ kind, ...options }, logprobs, datum, 0);
      const here = at(x.logprobs);
      for (const t of [0, 1, 2, 3, 4]) {
        const moved = (h: number) =>
          at(x.logprobs.map((value, i) => (i === t ? value + h : value)));
        const [below, above] = [moved(-1e-5), moved(1e-5)];
        fc.pre(below.stats.numClipped === above.stats.numClipped);
        const slope = (above.loss - below.loss) / 2e-5;
        expect(Math.abs(here.gradient_T[t] - slope)).toBeLessThan(1e-4 * (1 + Math.abs(slope)));
      }
    }),
  );
});

test("CISPO keeps the gradient of tokens that are clipped; GRPO and GSPO drop it", () => {
  const datum: Datum = {
    chunks: [],
    weights: Float32Array.of(0, 1, 1),
    advantages: Float32Array.of(0, 2, 2),
    oldLogprobs: Float32Array.of(0, -3, -3),
  };
  const slopes = (kind: PolicyLossName) => [
    ...datumLoss({ kind, ...options, klCoef: 0 }, [0, -1, -2], datum, 0).gradient_T,
  ];
  expect(slopes("grpo")).toEqual([0, 0, 0]);
  expect(slopes("gspo")).toEqual([0, 0, 0]);
  expect(slopes("cispo")).toEqual([0, -2.56, -2.56]);
});

test.each(names)("%s: with the learner's own ratio of 1 the slope is −A · weight", (kind) => {
  const datum: Datum = {
    chunks: [],
    weights: Float32Array.of(0, 0.5, 0.5),
    advantages: Float32Array.of(0, 2, 2),
  };
  const loss: Loss = { kind, ...options, klCoef: 0, onPolicy: true };
  const { gradient_T, stats } = datumLoss(loss, [0, -3, -4], datum, 0);
  expect([...gradient_T]).toEqual([0, -1, -1]);
  expect(stats).toEqual({ numTokens: 2, numClipped: 0, kl: 0 });
});

test("cross-entropy: minus the weighted log-probability", () => {
  const datum: Datum = { chunks: [], weights: Float32Array.of(0, 0.5, 0) };
  const { loss, gradient_T } = datumLoss({ kind: "crossEntropy" }, [-1, -3, -7], datum, 0);
  expect(loss).toBe(1.5);
  expect([...gradient_T]).toEqual([0, -0.5, 0]);
});

test("what is not finite is named", () => {
  const datum: Datum = { chunks: [], weights: Float32Array.of(0, 1) };
  const at = (logprob: number) => () => datumLoss({ kind: "crossEntropy" }, [0, logprob], datum, 3);
  expect(at(-Infinity)).toThrow("datum 3: the loss is Infinity");
});

test("a datum that lacks an array or has one of the wrong length is named", () => {
  const datum: Datum = { chunks: [], weights: new Float32Array(3) };
  const loss: Loss = { kind: "grpo", ...options };
  expect(() => checkDatum(datum, 4, 3)).not.toThrow();
  expect(() => checkDatum(datum, 4, 2)).toThrow("datum 4: weights must have one entry");
  expect(() => checkDatum(datum, 4, 3, loss)).toThrow("datum 4: oldLogprobs");
  expect(() => checkDatum({ chunks: [], weights: Float32Array.of(1, 1) }, 0, 2)).toThrow("first");
  const nan = { ...datum, importance: Float32Array.of(1, NaN, 1) };
  expect(() => checkDatum(nan, "scene-1#2", 3)).toThrow("scene-1#2: importance[1] is NaN");
  expect(() => checkDatum({ ...datum, temperature: 0 }, 0, 3)).toThrow("temperature must be > 0");
});
