/**
 * The objective of the published method, written once more straight from its formulas, against the
 * one that trains.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Loss } from "../engine/types.ts";
import { grpoToken } from "../engine/local/losses.ts";
import { importanceWeights } from "./importance.ts";

type GrpoLoss = Extract<Loss, { kind: "grpo" }>;

const settings: GrpoLoss = {
  kind: "grpo",
  clipLow: 0.2,
  clipHigh: 0.28,
  dualClip: 3,
  klCoef: 0.01,
  onPolicy: false,
};

const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const terms = fc.record({
  logprob: number(-12, 0),
  oldLogprob: number(-12, 0),
  refLogprob: number(-12, 0),
  advantage: number(-3, 3),
  importance: number(0, 2),
});

function published(x: typeof terms extends fc.Arbitrary<infer T> ? T : never, s: GrpoLoss): number {
  const ratio = Math.exp(x.logprob - x.oldLogprob);
  const bounded = Math.min(Math.max(ratio, 1 - s.clipLow), 1 + s.clipHigh);
  const higher = Math.max(-x.advantage * ratio, -x.advantage * bounded);
  const dual = x.advantage < 0 && s.dualClip !== null;
  const policy = dual ? Math.min(higher, -x.advantage * s.dualClip!) : higher;
  const d = x.refLogprob - x.logprob;
  const k3 = Math.min(Math.max(Math.exp(d) - d - 1, -10), 10);
  return x.importance * policy + s.klCoef * k3;
}

test("the loss that trains is the published one", () => {
  const choices = fc.record({
    dualClip: fc.constantFrom(3, null),
    klCoef: fc.constantFrom(0, 0.01),
  });
  fc.assert(
    fc.property(terms, choices, (x, choice) => {
      const loss = { ...settings, ...choice };
      expect(grpoToken(loss, x.logprob, x).loss).toBeCloseTo(published(x, loss), 6);
    }),
  );
});

test("its gradient is its slope, away from the kinks", () => {
  fc.assert(
    fc.property(terms, (x) => {
      const h = 1e-5;
      const at = (logprob: number) => grpoToken(settings, logprob, x);
      const [below, here, above] = [x.logprob - h, x.logprob, x.logprob + h].map(at);
      fc.pre(below.clipped === above.clipped && Math.abs(here.kl - 10) > 0.1);
      const slope = (above.loss - below.loss) / (2 * h);
      expect(Math.abs(here.gradient - slope)).toBeLessThan(1e-3 * (1 + Math.abs(slope)));
    }),
  );
});

test("clipped high for good tokens, low for bad ones, twice for very bad ones", () => {
  const at = (ratio: number, advantage: number) =>
    grpoToken({ ...settings, klCoef: 0 }, Math.log(ratio), {
      oldLogprob: 0,
      refLogprob: 0,
      advantage,
      importance: 1,
    });
  expect(at(1.1, 2).loss).toBeCloseTo(-2.2);
  expect(at(1.5, 2)).toMatchObject({ loss: -2.56, gradient: 0, clipped: true });
  expect(at(0.5, 2).loss).toBeCloseTo(-1);
  expect(at(0.5, -2)).toMatchObject({ loss: 1.6, gradient: 0, clipped: true });
  expect(at(2, -2).loss).toBeCloseTo(4);
  expect(at(5, -2)).toMatchObject({ loss: 6, gradient: 0, clipped: true });
});

test("importance corrections are truncated, and neutral outside the mask", () => {
  const weights = importanceWeights([-1, -1, -1], [-1, -3, -0.5], [1, 1, 0], 2);
  expect([...weights]).toEqual([1, 2, 1]);
});
