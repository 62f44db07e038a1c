import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cropBox, cutBox, fillBlack, zoom, type ZoomSettings } from "./crop.ts";
import { readFixture, sha256 } from "./fixtures/digest.ts";
import { noiseImage } from "./fixtures/noise.ts";
import type { RgbImage } from "./decode.ts";
import {
  box,
  cropToOriginal,
  insideBox,
  point,
  resizedToOriginal,
  type Point,
  type Size,
} from "./frames.ts";
import { resize } from "./resize.ts";

const base: ZoomSettings = { windowPx: 40, outputPx: 112, drawDot: false, mode: "default" };

/** Side of a visual token. */
const tokenPx = 28;

function zoomed(original: RgbImage, at: Point<"resized">, size: Size, settings: ZoomSettings) {
  const result = zoom(original, at, size, settings, { tokenPx });
  if (!result.ok) throw new Error(`refused: ${result.reason}`);
  return result.crop;
}

describe("cropBox clamps as published, image 1000×800", () => {
  const size = { widthPx: 1000, heightPx: 800 };
  const vectors = [
    { at: [500, 400], r: 182, expected: [318, 218, 682, 582] },
    { at: [10, 790], r: 50, expected: [0, 740, 60, 800] },
    { at: [1200, 900], r: 50, expected: [1150, 850, 1151, 851] },
    { at: [-100, -100], r: 50, expected: [0, 0, 1, 1] },
  ];
  for (const { at, r, expected } of vectors)
    it(`(${at.join(", ")}) r=${r}`, () => {
      const [x0, y0, x1, y1] = expected;
      expect(cropBox(size, point("resized", at[0], at[1]), r)).toEqual(
        box("resized", x0, y0, x1, y1),
      );
    });
});

interface Case {
  seed: number;
  size: [number, number];
  point: [number, number];
  offset: number;
  output: number;
  dot: boolean;
  box: [number, number, number, number];
  side: number;
  sha256: string;
}

describe("zoom in mode repo gives Pillow's pixels", () => {
  for (const c of readFixture<{ cases: Case[] }>("crops.json").cases)
    it(`(${c.point.join(", ")}) r=${c.offset} → ${c.side}${c.dot ? ", dot" : ""}`, () => {
      const original = noiseImage(...c.size, c.seed);
      const crop = zoomed(original, point("resized", ...c.point), original, {
        windowPx: 2 * c.offset,
        outputPx: c.output,
        drawDot: c.dot,
        mode: "repo",
      });
      expect(crop.boxOriginal).toEqual(box("original", ...c.box));
      expect(crop.outputSize).toEqual({ widthPx: c.side, heightPx: c.side });
      expect(sha256(crop.image.data)).toBe(c.sha256);
    });

  it("cuts from the resized image and maps back to the original", () => {
    const original = noiseImage(448, 336, 0);
    const seen = { widthPx: 112, heightPx: 84 };
    const settings: ZoomSettings = { ...base, mode: "repo" };
    const crop = zoomed(original, point("resized", 5, 42), seen, settings);
    expect(crop.boxOriginal).toEqual(box("original", 0, 88, 100, 248));
    const cut = cutBox(resize(original, seen, "bicubic"), box("resized", 0, 22, 25, 62));
    expect(crop.image).toEqual(resize(cut, { widthPx: 112, heightPx: 112 }, "bicubic"));
  });
});

it.each(["default", "repo"] as const)("crops have sides of whole tokens in mode %s", (mode) => {
  const settings: ZoomSettings = { windowPx: 40, outputPx: 100, drawDot: false, mode };
  const image = noiseImage(320, 200, 3);
  for (const side of [28, 32]) {
    const result = zoom(image, point("resized", 90, 70), image, settings, { tokenPx: side });
    if (!result.ok) throw new Error(result.reason);
    const { widthPx, heightPx } = result.crop.outputSize;
    expect([widthPx % side, heightPx % side]).toEqual([0, 0]);
    expect(widthPx).toBe(Math.round(100 / side) * side);
  }
});

describe("zoom in mode default", () => {
  const original = noiseImage(448, 336, 0);
  const seen = { widthPx: 112, heightPx: 84 };

  it("cuts the original's own pixels around the point", () => {
    const crop = zoomed(original, point("resized", 50, 40), seen, { ...base, windowPx: 28 });
    expect(crop.boxOriginal).toEqual(box("original", 144, 104, 256, 216));
    expect(crop.image).toEqual({ ...cutBox(original, crop.boxOriginal) });
  });

  it("refuses points outside the resized image", () => {
    for (const [x, y] of [
      [112, 10],
      [10, 84],
      [-1, 10],
      [Number.NaN, 3],
    ])
      expect(zoom(original, point("resized", x, y), seen, base, { tokenPx })).toEqual({
        ok: false,
        reason: "outside",
      });
  });

  it("moves a window inward at the edges, keeping its shape", () => {
    const crop = zoomed(original, point("resized", 1, 83), seen, base);
    expect(crop.boxOriginal).toEqual(box("original", 0, 176, 160, 336));
    expect(crop.outputSize).toEqual({ widthPx: 112, heightPx: 112 });
  });

  it("keeps the magnification where the image is narrower than the window", () => {
    const crop = zoomed(
      noiseImage(448, 112, 0),
      point("resized", 50, 10),
      { widthPx: 112, heightPx: 28 },
      {
        ...base,
        windowPx: 56,
      },
    );
    expect(crop.boxOriginal).toEqual(box("original", 88, 0, 312, 112));
    expect(crop.outputSize).toEqual({ widthPx: 112, heightPx: 56 });
  });

  it("shows every point that it takes, at the size asked for", () => {
    const side = fc.integer({ min: 30, max: 300 });
    const share = fc.double({ min: 0, max: 0.9999, noNaN: true });
    fc.assert(
      fc.property(
        side,
        side,
        side,
        side,
        share,
        share,
        fc.integer({ min: 4, max: 80 }),
        (w, h, rw, rh, u, v, windowPx) => {
          const image = fillBlack({ widthPx: w, heightPx: h });
          const size = { widthPx: rw, heightPx: rh };
          const at = point("resized", u * rw, v * rh);
          const crop = zoomed(image, at, size, { ...base, windowPx });
          const { boxOriginal, outputSize } = crop;
          expect(boxOriginal.x0 >= 0 && boxOriginal.x1 <= w).toBe(true);
          expect(boxOriginal.y0 >= 0 && boxOriginal.y1 <= h).toBe(true);
          expect(Object.values(boxOriginal).slice(1).every(Number.isInteger)).toBe(true);
          expect(insideBox(resizedToOriginal(at, image, size), boxOriginal)).toBe(true);
          expect(crop.image.data.length).toBe(outputSize.widthPx * outputSize.heightPx * 3);
          const corner = point("crop", outputSize.widthPx, outputSize.heightPx);
          const back = cropToOriginal(corner, crop);
          expect(back.x).toBeCloseTo(boxOriginal.x1, 6);
          expect(back.y).toBeCloseTo(boxOriginal.y1, 6);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("draws the dot on the finished crop, over the point", () => {
    const black = fillBlack({ widthPx: 448, heightPx: 336 });
    const crop = zoomed(black, point("resized", 50, 40), seen, {
      ...base,
      windowPx: 10,
      drawDot: true,
    });
    const pixel = (x: number, y: number) => [
      ...crop.image.data.subarray((y * 112 + x) * 3).subarray(0, 3),
    ];
    expect(pixel(56, 56)).toEqual([255, 0, 0]);
    expect(pixel(56 + 7, 56)).toEqual([255, 255, 255]);
    expect(pixel(56 + 8, 56)).toEqual([0, 0, 0]);
  });
});

describe("cutBox", () => {
  it("is black outside the image", () => {
    const white = { widthPx: 2, heightPx: 2, data: new Uint8Array(12).fill(255) };
    const cut = cutBox(white, box("original", -1, 1, 3, 3));
    const reds = Array.from(cut.data).filter((_, i) => i % 3 === 0);
    expect(reds).toEqual([0, 255, 255, 0, 0, 0, 0, 0]);
    expect(cutBox(white, box("original", 50, 50, 51, 51)).data).toEqual(new Uint8Array(3));
  });
});
