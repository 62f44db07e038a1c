import { describe, expect, it } from "vitest";
import { flatRow, numPositions, planBatch, type InputChunk } from "./batch.ts";
import { goldenFolder } from "./fixtures/golden.ts";
import { readModelConfig } from "./folder.ts";

const config = await readModelConfig(goldenFolder("tied"));
const text = (...tokens: number[]): InputChunk => ({ type: "text", tokens });
const image = (hash: string, h: number, w: number, numTokens = (h * w) / 4): InputChunk => ({
  type: "image",
  image: { hash, grid: { t: 1, h, w }, numTokens },
});

describe("planBatch", () => {
  it("lays sequences flat and encodes an image once that occurs several times", () => {
    const batch = planBatch(
      [
        [text(5, 6), image("a", 4, 4), text(7)],
        [image("b", 2, 2), image("a", 4, 4)],
      ],
      config,
    );
    expect(batch.lengths).toEqual([7, 5]);
    expect(batch.offsets).toEqual([0, 7]);
    const pad = config.imageTokenId;
    expect([...batch.tokens]).toEqual([5, 6, pad, pad, pad, pad, 7, pad, pad, pad, pad, pad]);
    expect(batch.images.map((i) => i.hash)).toEqual(["a", "b"]);
    expect([...batch.imageRows]).toEqual([2, 3, 4, 5, 7, 8, 9, 10, 11]);
    expect([...batch.featureRows]).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3]);
    expect(batch.next).toEqual([5, 3]);
    expect(flatRow(batch, 1, 2)).toBe(9);
  });

  it("keeps images apart that share a hash but not a grid", () => {
    const batch = planBatch([[image("a", 2, 4), image("a", 4, 2)]], config);
    expect(batch.images.length).toBe(2);
  });

  it("continues positions from where each sequence stood", () => {
    const batch = planBatch([[text(1, 2)], [text(3)]], config, [10, 4]);
    expect([...batch.axes[0]]).toEqual([10, 11, 4]);
    expect(batch.next).toEqual([12, 5]);
  });

  it("refuses what cannot be a batch, and says where", () => {
    expect(() => planBatch([], config)).toThrow(/empty batch/);
    expect(() => planBatch([[text(1)], [text()]], config)).toThrow(/sequence 1 .* empty/);
    expect(() => planBatch([[text(96)]], config)).toThrow(/token id 96 .* vocabulary of 96/);
    expect(() => planBatch([[text(-1)]], config)).toThrow(/token id -1/);
    expect(() => planBatch([[image("x", 4, 4, 3)]], config)).toThrow(/image x: 3 tokens .* 1×4×4/);
    expect(() => planBatch([[image("x", 3, 4, 3)]], config)).toThrow(/image x/);
  });

  it("counts positions", () => {
    expect(numPositions([text(1, 2, 3), image("a", 4, 6)])).toBe(9);
  });
});
