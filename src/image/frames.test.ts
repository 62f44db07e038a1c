import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  box,
  boxCentre,
  boxSize,
  contains,
  cropToOriginal,
  insideBox,
  nestCrop,
  originalToCrop,
  originalToRelative,
  originalToResized,
  point,
  relativeToOriginal,
  relativeToResized,
  resizedToOriginal,
  resizedToRelative,
  roundPoint,
  type CropPlace,
  type Size,
} from "./frames.ts";

const side = fc.integer({ min: 1, max: 4000 });
const size: fc.Arbitrary<Size> = fc.record({ widthPx: side, heightPx: side });
const share = fc.double({ min: 0, max: 0.999_999, noNaN: true });
const sharedPoint = fc.tuple(share, share);
const crop: fc.Arbitrary<CropPlace> = fc
  .tuple(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 2000 }), size, size)
  .map(([x0, y0, cut, outputSize]) => ({
    boxOriginal: box("original", x0, y0, x0 + cut.widthPx, y0 + cut.heightPx),
    outputSize,
  }));

const gap = (a: { x: number; y: number }, b: { x: number; y: number }) =>
  Math.max(Math.abs(a.x - b.x), Math.abs(a.y - b.y));

describe("conversions", () => {
  it("map known places", () => {
    const original = { widthPx: 1920, heightPx: 1080 };
    const resized = { widthPx: 960, heightPx: 270 };
    expect(originalToResized(point("original", 100, 100), original, resized)).toEqual(
      point("resized", 50, 25),
    );
    expect(resizedToRelative(point("resized", 480, 27), resized)).toEqual(
      point("relative", 500, 100),
    );
    expect(resizedToOriginal(box("resized", 0, 0, 960, 270), original, resized)).toEqual(
      box("original", 0, 0, 1920, 1080),
    );
    const place = {
      boxOriginal: box("original", 300, 200, 400, 300),
      outputSize: { widthPx: 200, heightPx: 400 },
    };
    expect(cropToOriginal(point("crop", 100, 100), place)).toEqual(point("original", 350, 225));
  });

  it("come back to where they started", () => {
    fc.assert(
      fc.property(size, size, sharedPoint, (original, resized, [u, v]) => {
        const start = point("original", u * original.widthPx, v * original.heightPx);
        const seen = originalToResized(start, original, resized);
        expect(gap(resizedToOriginal(seen, original, resized), start)).toBeLessThan(1e-6);
        expect(
          gap(relativeToResized(resizedToRelative(seen, resized), resized), seen),
        ).toBeLessThan(1e-6);
        expect(
          gap(relativeToOriginal(originalToRelative(start, original), original), start),
        ).toBeLessThan(1e-6);
        const direct = originalToRelative(start, original);
        expect(gap(resizedToRelative(seen, resized), direct)).toBeLessThan(1e-6);
      }),
    );
  });

  it("come back within half a pixel of the coarser frame when rounded on the way", () => {
    fc.assert(
      fc.property(size, size, sharedPoint, (original, resized, [u, v]) => {
        const start = point("original", u * original.widthPx, v * original.heightPx);
        const seen = roundPoint(originalToResized(start, original, resized), resized);
        expect(contains(resized, seen)).toBe(true);
        const back = resizedToOriginal(seen, original, resized);
        const stepX = original.widthPx / resized.widthPx;
        const stepY = original.heightPx / resized.heightPx;
        const isLastX = seen.x === resized.widthPx - 1;
        const isLastY = seen.y === resized.heightPx - 1;
        expect(Math.abs(back.x - start.x)).toBeLessThanOrEqual(stepX * (isLastX ? 1 : 0.5) + 1e-9);
        expect(Math.abs(back.y - start.y)).toBeLessThanOrEqual(stepY * (isLastY ? 1 : 0.5) + 1e-9);
      }),
    );
  });

  it("through a crop come back, and keep inside and outside apart", () => {
    fc.assert(
      fc.property(crop, sharedPoint, (place, [u, v]) => {
        const { outputSize, boxOriginal } = place;
        const inCrop = point("crop", u * outputSize.widthPx, v * outputSize.heightPx);
        const there = cropToOriginal(inCrop, place);
        expect(insideBox(there, boxOriginal)).toBe(true);
        expect(gap(originalToCrop(there, place), inCrop)).toBeLessThan(1e-6);
        const outside = point("original", boxOriginal.x0 - 1, boxOriginal.y1 + 1);
        expect(contains(outputSize, originalToCrop(outside, place))).toBe(false);
      }),
    );
  });

  it("through nested crops compose", () => {
    const corners = fc.tuple(share, share, share, share);
    fc.assert(
      fc.property(crop, corners, size, sharedPoint, (outer, [a, b, c, d], outputSize, [u, v]) => {
        const { widthPx, heightPx } = outer.outputSize;
        fc.pre(Math.abs(a - c) > 1e-3 && Math.abs(b - d) > 1e-3);
        const inner = box(
          "crop",
          Math.min(a, c) * widthPx,
          Math.min(b, d) * heightPx,
          Math.max(a, c) * widthPx,
          Math.max(b, d) * heightPx,
        );
        const nested = nestCrop(outer, inner, outputSize);
        const at = point("crop", u * outputSize.widthPx, v * outputSize.heightPx);
        const innerSize = boxSize(inner);
        const inOuter = point(
          "crop",
          inner.x0 + u * innerSize.widthPx,
          inner.y0 + v * innerSize.heightPx,
        );
        expect(gap(cropToOriginal(at, nested), cropToOriginal(inOuter, outer))).toBeLessThan(1e-6);
      }),
    );
  });

  it("carry boxes as they carry their corners", () => {
    fc.assert(
      fc.property(crop, size, size, (place, original, resized) => {
        const area = place.boxOriginal;
        const seen = originalToResized(area, original, resized);
        const corner = originalToResized(point("original", area.x1, area.y1), original, resized);
        expect(gap({ x: seen.x1, y: seen.y1 }, corner)).toBeLessThan(1e-6);
        expect(
          gap(originalToResized(boxCentre(area), original, resized), boxCentre(seen)),
        ).toBeLessThan(1e-6);
      }),
    );
  });
});

describe("contains and insideBox", () => {
  it("are half-open", () => {
    const image = { widthPx: 10, heightPx: 5 };
    expect(contains(image, { x: 0, y: 0 })).toBe(true);
    expect(contains(image, { x: 9.99, y: 4.99 })).toBe(true);
    for (const at of [
      { x: 10, y: 0 },
      { x: 0, y: 5 },
      { x: -0.01, y: 0 },
      { x: Number.NaN, y: 0 },
    ])
      expect(contains(image, at)).toBe(false);
    const area = box("original", 2, 2, 4, 4);
    expect(insideBox(point("original", 2, 3.9), area)).toBe(true);
    expect(insideBox(point("original", 4, 3), area)).toBe(false);
  });
});

describe("roundPoint", () => {
  it("keeps inside points inside and outside points outside", () => {
    const image = { widthPx: 10, heightPx: 5 };
    expect(roundPoint(point("resized", 9.7, 4.6), image)).toEqual(point("resized", 9, 4));
    expect(roundPoint(point("resized", 2.5, 1.4), image)).toEqual(point("resized", 3, 1));
    expect(roundPoint(point("resized", 12.2, 1), image)).toEqual(point("resized", 12, 1));
  });
});
