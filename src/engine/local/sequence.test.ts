import { expect, test } from "vitest";
import type { ModelImage } from "../../image/model-image.ts";
import type { Chunk } from "../types.ts";
import { chunksFrom, contentKey, flatten, History } from "./sequence.ts";

const text = (...tokens: number[]): Chunk => ({ type: "text", tokens });
const image = (hash: string): Chunk => ({
  type: "image",
  image: { hash, numTokens: 2, grid: { t: 1, h: 2, w: 4 } } as ModelImage,
});
const prompt = [text(1, 2), image("a"), text(3)];

/** prefill [1 2 a a 3], decode 4 5 6; an image of two tokens moves the rotary position by two. */
function conversation(): History {
  const history = new History();
  history.addPrefill(prompt, 5);
  for (const token of [4, 5, 6]) history.addToken(token);
  return history;
}

test("chunks become one entry a position, and are cut between them", () => {
  expect(flatten(prompt)).toEqual([1, 2, "a", "a", 3]);
  expect(chunksFrom(prompt, 1)).toEqual([text(2), image("a"), text(3)]);
  expect(chunksFrom(prompt, 4)).toEqual([text(3)]);
  expect(() => chunksFrom(prompt, 3)).toThrow("inside an image");
  expect(contentKey(prompt)).not.toBe(contentKey([text(1, 2), image("b"), text(3)]));
});

test("a continued prompt keeps all that is held", () => {
  const history = conversation();
  const next = flatten([...prompt, text(4, 5, 6, 7), image("b")]);
  expect(history.keepPrefix(next)).toBe(8);
  expect(history.rope).toBe(8);
  expect(history.segments).toEqual([
    { kind: "prefill", chunks: prompt },
    { kind: "decode", tokens: [4, 5, 6] },
  ]);
});

test("decoded tokens are cut where the prompt leaves them", () => {
  const history = conversation();
  expect(history.keepPrefix(flatten([...prompt, text(4, 9, 6)]))).toBe(6);
  expect(history.rope).toBe(6);
  expect(history.segments.at(-1)).toEqual({ kind: "decode", tokens: [4] });
});

test("one position stays to be prefilled, and a prefill is not cut", () => {
  const history = conversation();
  expect(history.keepPrefix(flatten([...prompt, text(4, 5, 6)]))).toBe(7);
  expect(history.keepPrefix(flatten([...prompt]))).toBe(0);
  expect(history.rope).toBe(0);
  const other = conversation();
  expect(other.keepPrefix(flatten([text(1, 2), image("b"), text(3, 4)]))).toBe(0);
});
