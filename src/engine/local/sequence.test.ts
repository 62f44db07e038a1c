import { expect, test } from "vitest";
import type { ModelImage } from "../../image/model-image.ts";
import type { Chunk } from "../types.ts";
import { contentKey, flatten, Prompt } from "./sequence.ts";

const text = (...tokens: number[]): Chunk => ({ type: "text", tokens });
const image = (hash: string): Chunk => ({
  type: "image",
  image: { hash, numTokens: 2, grid: { t: 1, h: 2, w: 4 } } as ModelImage,
});
const chunks = [text(1, 2), image("a"), text(3)];

test("chunks become one entry a position, and are cut between them", () => {
  expect(flatten(chunks)).toEqual([1, 2, "a", "a", 3]);
  const prompt = new Prompt(chunks, null);
  expect(prompt.slice(1, 5)).toEqual([text(2), image("a"), text(3)]);
  expect(prompt.slice(0, 4)).toEqual([text(1, 2), image("a")]);
  expect(prompt.slice(4, 5)).toEqual([text(3)]);
  expect(() => prompt.slice(3, 5)).toThrow("in an image");
  expect(() => prompt.slice(0, 3)).toThrow("in an image");
  expect(contentKey(chunks)).not.toBe(contentKey([text(1, 2), image("b"), text(3)]));
});

test("where any cut will do, only images stay whole", () => {
  const prompt = new Prompt(chunks, null);
  expect([0, 1, 2, 3, 4].map((position) => prompt.cutUpTo(position))).toEqual([0, 1, 2, 2, 4]);
  const [piece, ...others] = prompt.pieces(1);
  expect(piece).toEqual({ start: 1, end: 5, isWhole: true, chunks: prompt.slice(1, 5) });
  expect(others).toEqual([]);
});

test("pieces are as long as they have to be, and as an image makes them", () => {
  const prompt = new Prompt([text(1, 2), image("a"), text(3, 4, 5, 6), image("b"), text(7)], 3);
  const ends = prompt.pieces(0).map(({ end, isWhole }) => [end, isWhole]);
  expect(ends).toEqual([
    [4, true],
    [7, true],
    [10, true],
    [11, false],
  ]);
  expect([3, 4, 6, 7, 9].map((position) => prompt.cutUpTo(position))).toEqual([0, 4, 4, 7, 7]);
  expect(prompt.pieces(7)).toEqual([
    { start: 7, end: 10, isWhole: true, chunks: [text(6), image("b")] },
    { start: 10, end: 11, isWhole: false, chunks: [text(7)] },
  ]);
});

test("prompts that begin alike are cut alike", () => {
  const beginning = [text(...Array.from({ length: 20 }, (_, i) => i)), image("a")];
  const [one, other] = [text(90), text(91, 92, 93, 94, 95, 96, 97)].map(
    (end) => new Prompt([...beginning, end], 4),
  );
  for (let position = 0; position <= 22; position++)
    expect(other.cutUpTo(position)).toBe(one.cutUpTo(position));
});
