import fc from "fast-check";
import { expect, test } from "vitest";
import { lossOfToken, type OneToken } from "./fixtures/one-token.ts";
import { grpo } from "./grpo.ts";
import type { PolicyOptions } from "./policy.ts";

const settings: PolicyOptions = {
  clipLow: 0.2,
  clipHigh: 0.28,
  dualClip: 3,
  klCoef: 0.01,
  onPolicy: false,
};
const noKl = { ...settings, klCoef: 0 };

function token(ratio: number, advantage: number, more: Partial<OneToken> = {}): OneToken {
  return { oldLogprob: -1 - Math.log(ratio), refLogprob: -1, advantage, importance: 1, ...more };
}

const at = (options: PolicyOptions, logprob: number, one: OneToken) =>
  lossOfToken(grpo, options, logprob, one);

test("clip low and high", () => {
  expect(at(noKl, -1, token(1.2, 2)).loss).toBeCloseTo(-2.4, 12);
  expect(at(noKl, -1, token(1.2, 2)).clipped).toBe(false);
  expect(at(noKl, -1, token(1.5, 2)).loss).toBeCloseTo(-2.56, 12);
  expect(at(noKl, -1, token(1.5, 2))).toMatchObject({ clipped: true, gradient: 0 });
  expect(at(noKl, -1, token(0.5, 2)).loss).toBeCloseTo(-1, 12);
  expect(at(noKl, -1, token(0.5, -2)).loss).toBeCloseTo(1.6, 12);
  expect(at(noKl, -1, token(0.5, -2))).toMatchObject({ clipped: true, gradient: 0 });
  expect(at(noKl, -1, token(1.5, -2)).loss).toBeCloseTo(3, 12);
});

test("dual clip bounds the loss of negative advantages at c", () => {
  expect(at(noKl, -1, token(5, -2))).toMatchObject({ loss: 6, clipped: true, gradient: 0 });
  expect(at({ ...noKl, dualClip: null }, -1, token(5, -2)).loss).toBeCloseTo(10, 12);
  expect(at(noKl, -1, token(5, 2)).loss).toBeCloseTo(-2.56, 12);
});

test("k3 KL: exp(d) − d − 1, at most 10", () => {
  const near = at(settings, -1, token(1, 0, { refLogprob: -0.5 }));
  expect(near.kl).toBeCloseTo(Math.exp(0.5) - 1.5, 12);
  expect(near.loss).toBeCloseTo(0.01 * near.kl, 12);
  expect(near.gradient).toBeCloseTo(0.01 * (1 - Math.exp(0.5)), 12);
  expect(at(settings, -9, token(1, 0, { refLogprob: -1 })).kl).toBe(10);
  expect(at(settings, -900, token(1, 0, { refLogprob: -1 }))).toMatchObject({
    kl: 10,
    gradient: 0,
  });
});

test("importance weighs the policy term, not the KL", () => {
  const plain = at(settings, -1, token(1.1, 1, { refLogprob: -2 }));
  const weighed = at(settings, -1, token(1.1, 1, { refLogprob: -2, importance: 0.5 }));
  expect(weighed.kl).toBe(plain.kl);
  expect(weighed.loss).toBeCloseTo(-0.55 + 0.01 * plain.kl, 12);
});

test("on-policy: the ratio is 1 and the gradient −A", () => {
  const one = at({ ...noKl, onPolicy: true }, -3, token(7, 2));
  expect(one).toEqual({ loss: -2, gradient: -2, clipped: false, kl: 0 });
});

const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const terms = fc.record({
  logprob: number(-12, 0),
  oldLogprob: number(-12, 0),
  refLogprob: number(-12, 0),
  advantage: number(-3, 3),
  importance: number(0, 2),
});

function published(
  x: typeof terms extends fc.Arbitrary<infer T> ? T : never,
  s: PolicyOptions,
): number {
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
      expect(at(loss, x.logprob, x).loss).toBeCloseTo(published(x, loss), 6);
    }),
  );
});

test("its gradient is its slope, away from the kinks", () => {
  fc.assert(
    fc.property(terms, (x) => {
      const h = 1e-5;
      const [below, here, above] = [x.logprob - h, x.logprob, x.logprob + h].map((logprob) =>
        at(settings, logprob, x),
      );
      fc.pre(below.clipped === above.clipped && Math.abs(here.kl - 10) > 0.1);
      const slope = (above.loss - below.loss) / (2 * h);
      expect(Math.abs(here.gradient - slope)).toBeLessThan(1e-3 * (1 + Math.abs(slope)));
    }),
  );
});
