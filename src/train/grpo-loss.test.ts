import fc from "fast-check";
import { expect, test } from "vitest";
import { grpoTokenLoss, importanceWeights, k3, type GrpoLoss } from "./grpo-loss.ts";

const settings: GrpoLoss = {
  kind: "grpo",
  clipLow: 0.2,
  clipHigh: 0.28,
  dualClip: 3,
  klCoef: 0,
  onPolicy: false,
};

function loss(ratio: number, advantage: number, more: Partial<GrpoLoss> = {}) {
  const terms = { logprob: Math.log(ratio), oldLogprob: 0, refLogprob: 0, importance: 1 };
  return grpoTokenLoss({ ...terms, advantage }, { ...settings, ...more });
}

test("the ratio is clipped high for good tokens, low for bad ones, and twice for very bad ones", () => {
  expect(loss(1.1, 2).loss).toBeCloseTo(-2.2);
  expect(loss(1.5, 2)).toMatchObject({ loss: -2.56, gradient: 0, clipped: true });
  expect(loss(0.5, 2).loss).toBeCloseTo(-1);
  expect(loss(0.5, -2)).toMatchObject({ loss: 1.6, gradient: 0, clipped: true });
  expect(loss(2, -2)).toMatchObject({ loss: 4, clipped: false });
  expect(loss(5, -2)).toMatchObject({ loss: 6, gradient: 0, clipped: true });
  expect(loss(5, -2, { dualClip: null }).loss).toBeCloseTo(10);
});

test("on policy the ratio is one and the gradient the plain policy gradient", () => {
  expect(loss(5, -2, { onPolicy: true })).toMatchObject({ loss: 2, gradient: 2, clipped: false });
});

test("k3 is never negative, 0 at equality, bounded, and added with its weight", () => {
  expect(k3(-1, -1).kl).toBe(0);
  expect(k3(-2, -1).kl).toBeCloseTo(Math.E - 2);
  expect(k3(-50, -1)).toEqual({ kl: 10, gradient: 0 });
  const terms = { logprob: -2, oldLogprob: -2, refLogprob: -1, advantage: 0, importance: 1 };
  expect(grpoTokenLoss(terms, { ...settings, klCoef: 0.01 }).loss).toBeCloseTo(0.01 * (Math.E - 2));
});

test("the gradient agrees with finite differences away from the kinks", () => {
  const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
  fc.assert(
    fc.property(
      number(-1, 1),
      number(-3, 3),
      number(-2, 2),
      number(0, 2),
      (logprob, advantage, refLogprob, importance) => {
        const at = (x: number) =>
          grpoTokenLoss(
            { logprob: x, oldLogprob: 0, refLogprob, advantage, importance },
            { ...settings, klCoef: 0.1 },
          );
        const h = 1e-5;
        fc.pre([at(logprob - h), at(logprob + h)].every((x) => x.clipped === at(logprob).clipped));
        const slope = (at(logprob + h).loss - at(logprob - h).loss) / (2 * h);
        expect(at(logprob).gradient).toBeCloseTo(slope, 4);
      },
    ),
  );
});

test("importance corrections are truncated and neutral outside the mask", () => {
  const weights = importanceWeights([-1, -1, -1], [-1, -3, -0.5], [1, 1, 0], 2);
  expect([...weights]).toEqual([1, 2, 1]);
});
