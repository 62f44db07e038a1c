import { expect, test } from "vitest";
import { stream } from "../../core/random.ts";
import { scope } from "../../torch/scope.ts";
import { tensor } from "../../torch/tensor.ts";
import type { SampleParams } from "../types.ts";
import { drawLarge, drawSmall, type DrawRequest } from "./draw.ts";

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
  const { small, large } = scope(() => {
    const logits = tensor(data, { shape: [rows, vocabulary] });
    return { small: drawSmall(logits, requests), large: drawLarge(logits, requests) };
  });
  expect(large.map(({ token }) => token)).toEqual(small.map(({ token }) => token));
  for (const [i, { logprob }] of large.entries()) expect(logprob).toBeCloseTo(small[i].logprob, 5);
});

test("a row drawn alone gives the bits that it gives in a batch", () => {
  for (const draw of [drawSmall, drawLarge]) {
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

test("greedy takes the likeliest; log-probabilities are those of temperature 1", () => {
  const drawn = scope(() => drawSmall(tensor(data, { shape: [rows, vocabulary] }), requests));
  for (const [row, { token, logprob }] of drawn.entries()) {
    const logits = data.slice(row * vocabulary, (row + 1) * vocabulary);
    if (row % 6 === 1) expect(token).toBe(logits.indexOf(Math.max(...logits)));
    const logSum = Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0));
    expect(logprob).toBeCloseTo(logits[token] - logSum, 4);
  }
});
