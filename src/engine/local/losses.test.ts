import fc from "fast-check";
import { expect, test } from "vitest";
import type { Datum, Loss } from "../types.ts";
import { checkDatum, grpoToken, tokenLoss, type GrpoToken } from "./losses.ts";

const grpo = {
  kind: "grpo",
  clipLow: 0.2,
  clipHigh: 0.28,
  dualClip: 3,
  klCoef: 0.01,
  onPolicy: false,
} as const;
const noKl = { ...grpo, klCoef: 0 };

function token(ratio: number, advantage: number, more: Partial<GrpoToken> = {}): GrpoToken {
  return { oldLogprob: -1 - Math.log(ratio), refLogprob: -1, advantage, importance: 1, ...more };
}

test("clip low and high", () => {
  expect(grpoToken(noKl, -1, token(1.2, 2)).loss).toBeCloseTo(-2.4, 12);
  expect(grpoToken(noKl, -1, token(1.2, 2)).clipped).toBe(false);
  expect(grpoToken(noKl, -1, token(1.5, 2)).loss).toBeCloseTo(-2.56, 12);
  expect(grpoToken(noKl, -1, token(1.5, 2))).toMatchObject({ clipped: true, gradient: 0 });
  expect(grpoToken(noKl, -1, token(0.5, 2)).loss).toBeCloseTo(-1, 12);
  expect(grpoToken(noKl, -1, token(0.5, -2)).loss).toBeCloseTo(1.6, 12);
  expect(grpoToken(noKl, -1, token(0.5, -2))).toMatchObject({ clipped: true, gradient: 0 });
  expect(grpoToken(noKl, -1, token(1.5, -2)).loss).toBeCloseTo(3, 12);
});

test("dual clip bounds the loss of negative advantages at c", () => {
  expect(grpoToken(noKl, -1, token(5, -2))).toMatchObject({ loss: 6, clipped: true, gradient: 0 });
  expect(grpoToken({ ...noKl, dualClip: null }, -1, token(5, -2)).loss).toBeCloseTo(10, 12);
  expect(grpoToken(noKl, -1, token(5, 2)).loss).toBeCloseTo(-2.56, 12);
});

test("k3 KL: exp(d) − d − 1, at most 10", () => {
  const near = grpoToken(grpo, -1, token(1, 0, { refLogprob: -0.5 }));
  expect(near.kl).toBeCloseTo(Math.exp(0.5) - 1.5, 12);
  expect(near.loss).toBeCloseTo(0.01 * near.kl, 12);
  expect(near.gradient).toBeCloseTo(0.01 * (1 - Math.exp(0.5)), 12);
  expect(grpoToken(grpo, -9, token(1, 0, { refLogprob: -1 })).kl).toBe(10);
  expect(grpoToken(grpo, -900, token(1, 0, { refLogprob: -1 }))).toMatchObject({
    kl: 10,
    gradient: 0,
  });
});

test("importance weighs the policy term, not the KL", () => {
  const plain = grpoToken(grpo, -1, token(1.1, 1, { refLogprob: -2 }));
  const weighed = grpoToken(grpo, -1, token(1.1, 1, { refLogprob: -2, importance: 0.5 }));
  expect(weighed.kl).toBe(plain.kl);
  expect(weighed.loss).toBeCloseTo(-0.55 + 0.01 * plain.kl, 12);
});

test("on-policy: the ratio is 1 and the gradient −A", () => {
  const datum = { weights: Float32Array.of(0, 0.5), advantages: Float32Array.of(0, 2), chunks: [] };
  expect(tokenLoss({ ...noKl, onPolicy: true }, datum, 1, -3)).toEqual({
    loss: -1,
    gradient: -1,
    clipped: false,
    kl: 0,
  });
  expect(tokenLoss({ kind: "crossEntropy" }, datum, 1, -3)).toMatchObject({
    loss: 1.5,
    gradient: -0.5,
  });
});

test("the gradient is the derivative, away from the corners", () => {
  const within = (min: number, max: number) => fc.double({ min, max, noNaN: true });
  fc.assert(
    fc.property(
      within(-3, 0),
      within(-3, 0),
      within(-3, 0),
      within(-2, 2),
      within(0, 2),
      (logprob, oldLogprob, refLogprob, advantage, importance) => {
        const ratio = Math.exp(logprob - oldLogprob);
        fc.pre([0.8, 1.28, 3].every((corner) => Math.abs(ratio - corner) > 1e-3));
        const one = { oldLogprob, refLogprob, advantage, importance };
        const h = 1e-6;
        const slope =
          (grpoToken(grpo, logprob + h, one).loss - grpoToken(grpo, logprob - h, one).loss) /
          (2 * h);
        expect(grpoToken(grpo, logprob, one).gradient).toBeCloseTo(slope, 5);
      },
    ),
  );
});

test("a datum that lacks an array or has one of the wrong length is named", () => {
  const datum: Datum = { chunks: [], weights: new Float32Array(3) };
  const loss: Loss = grpo;
  expect(() => checkDatum(datum, 4, 3)).not.toThrow();
  expect(() => checkDatum(datum, 4, 2)).toThrow("datum 4: weights must have one entry");
  expect(() => checkDatum(datum, 4, 3, loss)).toThrow("datum 4: oldLogprobs");
  expect(() => checkDatum({ chunks: [], weights: Float32Array.of(1, 1) }, 0, 2)).toThrow("first");
});
