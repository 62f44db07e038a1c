import fc from "fast-check";
import { expect, test } from "vitest";
import { testDevice } from "../../../test/fixtures/device.ts";
import { stream } from "../../core/random.ts";
import { kernels } from "../../torch/kernels.ts";
import { scope } from "../../torch/scope.ts";
import { tensor } from "../../torch/tensor.ts";
import type { SampleParams } from "../types.ts";
import { drawPlain, drawFused, drawTokens, type DrawRequest } from "./draw.ts";

const rows = 64;
const vocabulary = 300;
const rng = stream(1, "draw");
const data = Float32Array.from({ length: rows * vocabulary }, () => 3 * rng.normal());
const base: SampleParams = {
  maxTokens: 1,
  temperature: 1,
  topP: 1,
  topK: 0,
  stop: [],
  seed: 0,
};

function requestFor(row: number): DrawRequest {
  const params = [
    base,
    { ...base, temperature: 0 },
    { ...base, temperature: 0.7, topP: 0.9 },
    { ...base, topP: 0.8, topK: 20 },
    { ...base, temperature: 1.5, topK: 5 },
    { ...base, topP: 0.99 },
  ][row % 6];
  return { row, n: row, params: { ...params, seed: row } };
}
const requests = Array.from({ length: rows }, (_, row) => requestFor(row));

test("both ways of sampling agree", () => {
  const { fused, plain } = scope(() => {
    const logits = tensor(data, { shape: [rows, vocabulary] });
    return { fused: drawFused(logits, requests), plain: drawPlain(logits, requests) };
  });
  expect(plain.map(({ token }) => token)).toEqual(fused.map(({ token }) => token));
  for (const [i, { logprob }] of plain.entries()) expect(logprob).toBeCloseTo(fused[i].logprob, 5);
});

test("a row drawn alone gives the bits that it gives in a batch", () => {
  for (const draw of [drawFused, drawPlain]) {
    const together = scope(() => draw(tensor(data, { shape: [rows, vocabulary] }), requests));
    for (const row of [0, 1, 2, 3, 4, 5, 62, 63]) {
      const alone = scope(() =>
        draw(
          tensor(data.slice(row * vocabulary, (row + 1) * vocabulary), { shape: [1, vocabulary] }),
          [{ ...requests[row], row: 0 }],
        ),
      );
      expect(alone[0]).toEqual(together[row]);
    }
  }
});

test("greedy takes the likeliest; log-probabilities are those of the temperature, 1 if greedy", () => {
  for (const draw of [drawFused, drawPlain]) {
    const drawn = scope(() => draw(tensor(data, { shape: [rows, vocabulary] }), requests));
    for (const [row, { token, logprob }] of drawn.entries()) {
      const raw = data.slice(row * vocabulary, (row + 1) * vocabulary);
      if (row % 6 === 1) expect(token).toBe(raw.indexOf(Math.max(...raw)));
      const logits = raw.map((x) => x / (requests[row].params.temperature || 1));
      const logSum = Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0));
      expect(logprob).toBeCloseTo(logits[token] - logSum, 4);
    }
  }
});

test("a temperature near 0 is greedy, a cold one finite, and a broken row fails alone", () => {
  const params = (temperature: number) => ({ ...base, temperature });
  for (const draw of [drawFused, drawPlain]) {
    const logits = Float32Array.of(1, 3, 2, NaN, 0, 1, 40, -40, -Infinity);
    const [tiny, cold, broken, wide] = scope(() =>
      draw(tensor(logits, { shape: [3, 3] }), [
        { row: 0, n: 0, params: params(1e-50) },
        { row: 0, n: 0, params: params(1e-5) },
        { row: 1, n: 0, params: params(1) },
        { row: 2, n: 0, params: params(0.01) },
      ]),
    );
    expect(tiny.token).toBe(1);
    expect(tiny.logprob).toBeCloseTo(-0.4076, 4);
    expect(cold).toEqual({ token: 1, logprob: 0 });
    expect(broken.token).toBe(-1);
    expect(wide).toEqual({ token: 0, logprob: 0 });
  }
});

/** The fused draw from one distribution. */
function drawFrom(
  probabilities: readonly number[],
  uniform: number,
  { topP = 1, topK = 0 }: { topP?: number; topK?: number } = {},
): number {
  return scope(() => {
    const logits = tensor(Float32Array.from(probabilities, Math.log), {
      shape: [1, probabilities.length],
    });
    const request = tensor(Float64Array.of(0, uniform, 1, topP, topK), {
      shape: [1, 5],
      dtype: "float64",
    });
    return kernels.drawTokens(logits, request).toNumbers()[0];
  });
}

const shares = [0.125, 0.5, 0.25, 0.125];

test("without truncation the draw inverts the cumulative distribution by id", () => {
  const uniforms = [0, 0.124, 0.126, 0.624, 0.626, 0.874, 0.876, 0.9999];
  expect(uniforms.map((u) => drawFrom(shares, u))).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
});

test("top-k keeps the likeliest, the lower id on a tie", () => {
  // Kept 1, 2 and 0 (not 3): shares 0.125, 0.5, 0.25 of 0.875, walked as 0, 1, 2.
  const uniforms = [0, 0.14, 0.15, 0.71, 0.72, 0.99];
  expect(uniforms.map((u) => drawFrom(shares, u, { topK: 3 }))).toEqual([0, 0, 1, 1, 2, 2]);
  expect(drawFrom(shares, 0.999, { topK: 1 })).toBe(1);
});

test("top-p keeps the shortest run that reaches its share", () => {
  const at = (topP: number, uniforms: number[]) =>
    uniforms.map((u) => drawFrom(shares, u, { topP }));
  expect(at(0.749, [0, 0.66, 0.67, 0.99])).toEqual([1, 1, 2, 2]);
  expect(at(0.499, [0, 0.99])).toEqual([1, 1]);
  // 0.76 needs one of the two that tie at 0.125: the lower id.
  expect(at(0.76, [0, 0.14, 0.15, 0.99])).toEqual([0, 0, 1, 2]);
});

test("top-p counts shares of what top-k left", () => {
  // Of 0.5 and 0.25, the first alone is two thirds.
  expect(drawFrom(shares, 0.99, { topP: 0.6, topK: 2 })).toBe(1);
  expect(drawFrom(shares, 0.99, { topP: 0.7, topK: 2 })).toBe(2);
});

test("what is impossible is never drawn", () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(0, 0, 1e-30, 0.1, 1), { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      fc.nat({ max: 8 }),
      (row, uniform, topP, topK) => {
        fc.pre(row.some((p) => p > 0));
        expect(row[drawFrom(row, uniform, { topP, topK })]).toBeGreaterThan(0);
      },
    ),
  );
});

test("requests must fit the logits", () => {
  scope(() => {
    const logits = tensor([0, 0], { shape: [1, 2] });
    const request = (...columns: number[]) =>
      tensor(Float64Array.from(columns), { shape: [1, columns.length], dtype: "float64" });
    expect(() => kernels.drawTokens(logits, request(1, 0, 1, 1, 0))).toThrow(/request 0/);
    expect(() => kernels.drawTokens(logits, request(0, 0, 1, 1))).toThrow(/float64 \[D, 5\]/);
    expect(() => kernels.drawTokens(logits.to("float64"), request(0, 0, 1, 1, 0))).toThrow(
      /float32/,
    );
    const learnt = tensor([0, 0], { shape: [1, 2] }).requiresGrad_();
    expect(() => kernels.drawTokens(learnt, request(0, 0, 1, 1, 0))).toThrow(/no gradient/);
    const nothing = tensor([NaN, 0], { shape: [1, 2] });
    expect(kernels.drawTokens(nothing, request(0, 0, 1, 1, 0)).toNumbers()).toEqual([-1, NaN]);
  });
});

test.skipIf(testDevice === "cpu")("the kernel of a GPU draws as libtorch's operators do", () => {
  const wide = 1016;
  const numRows = 200;
  const random = stream(2, "draw");
  const logits = Float32Array.from({ length: numRows * wide }, () => 3 * random.normal());
  const asked = Array.from({ length: numRows }, (_, i): DrawRequest => {
    const temperature = [1, 0, 0.7, 1.5][i % 4];
    return { row: (i * 7) % numRows, n: i, params: { ...base, temperature, seed: i } };
  });
  const { drawn, plain, broken } = scope(() => {
    const options = { shape: [numRows, wide], device: testDevice };
    const half = tensor(logits, options).to("bfloat16");
    const lost = tensor(logits.slice().fill(NaN, 5 * wide, 5 * wide + 1), options).to("bfloat16");
    const one: DrawRequest[] = [{ row: 5, n: 0, params: base }];
    return {
      drawn: drawTokens(half, asked),
      plain: drawPlain(half.to("float32"), asked),
      broken: drawTokens(lost, one),
    };
  });
  expect(drawn.map(({ token }) => token)).toEqual(plain.map(({ token }) => token));
  for (const [i, { logprob }] of drawn.entries()) expect(logprob).toBeCloseTo(plain[i].logprob, 4);
  expect(broken).toEqual([{ token: -1, logprob: NaN }]);
});
