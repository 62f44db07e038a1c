import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VigorlError } from "../core/errors.ts";
import { anyBudget, roundHalfEven, smartResize, withinSide } from "./smart-resize.ts";

describe("withinSide", () => {
  // int(side * (1260 / longest)) in Python.
  const vectors = [
    [1920, 1080, 1260, 708],
    [1261, 700, 1260, 699],
    [1260, 1260, 1260, 1260],
    [999, 3001, 419, 1260],
    [1707, 1281, 1260, 945],
    [2246, 1582, 1260, 887],
    [4000, 3, 1260, 1],
    [640, 480, 640, 480],
  ] as const;
  it.each(vectors)("%i × %i → %i × %i", (widthPx, heightPx, width, height) => {
    expect(withinSide({ widthPx, heightPx }, 1260)).toEqual({ widthPx: width, heightPx: height });
    expect(withinSide({ widthPx, heightPx }, undefined)).toEqual({ widthPx, heightPx });
  });
});

describe("smartResize", () => {
  const vectors: [string, number | undefined, number | undefined, string, number][] = [
    ["1920×1080", 3136, 4_194_304, "1932×1092", 2691],
    ["3840×2160", 3136, 4_194_304, "2716×1512", 5238],
    ["3840×2160", 4096, 12_960_000, "3836×2156", 10_549],
    ["640×480", 3136, 4_194_304, "644×476", 391],
    ["800×600", 2_700_000, 2_850_000, "1904×1428", 3468],
    ["384×384", undefined, undefined, "392×392", 196],
    ["512×512", undefined, undefined, "504×504", 324],
    ["672×672", undefined, undefined, "672×672", 576],
  ];
  for (const [from, minPixels, maxPixels, to, tokens] of vectors)
    it(`${from} → ${to}, ${tokens} tokens`, () => {
      const [width, height] = from.split("×").map(Number);
      const size = smartResize(height, width, {
        ...anyBudget(28),
        ...(minPixels !== undefined && { minPixels }),
        ...(maxPixels !== undefined && { maxPixels }),
      });
      expect(`${size.widthPx}×${size.heightPx}`).toBe(to);
      expect((size.widthPx * size.heightPx) / 784).toBe(tokens);
    });

  /** transformers 5.23, `smart_resize` with a factor of 32. */
  const wide: [string, number, string, number][] = [
    ["1920×1080", 16_777_216, "1920×1088", 2040],
    ["1920×1080", 1_048_576, "1344×768", 1008],
    ["3840×2160", 16_777_216, "3840×2176", 8160],
    ["100×60", 16_777_216, "352×224", 77],
    ["333×1000", 16_777_216, "320×992", 310],
    ["32×48", 16_777_216, "224×320", 70],
    ["4000×90", 1_048_576, "4000×96", 375],
  ];
  for (const [from, maxPixels, to, tokens] of wide)
    it(`${from} → ${to}, ${tokens} tokens of 32 pixels`, () => {
      const [width, height] = from.split("×").map(Number);
      const size = smartResize(height, width, { factor: 32, minPixels: 65_536, maxPixels });
      expect(`${size.widthPx}×${size.heightPx}`).toBe(to);
      expect((size.widthPx * size.heightPx) / 1024).toBe(tokens);
    });

  it("gives multiples of the factor within the budget, and settles", () => {
    const side = fc.integer({ min: 1, max: 3000 });
    fc.assert(
      fc.property(side, side, (height, width) => {
        fc.pre(Math.max(height, width) / Math.min(height, width) <= 50);
        const options = { factor: 28, minPixels: 56 * 56, maxPixels: 28 * 28 * 2000 };
        const size = smartResize(height, width, options);
        expect(size.widthPx % 28).toBe(0);
        expect(size.heightPx % 28).toBe(0);
        expect(size.widthPx * size.heightPx).toBeGreaterThanOrEqual(options.minPixels);
        expect(size.widthPx * size.heightPx).toBeLessThanOrEqual(options.maxPixels);
        expect(smartResize(size.heightPx, size.widthPx, options)).toEqual(size);
      }),
    );
  });

  it("takes an aspect ratio of 200 and refuses more", () => {
    const any = anyBudget(28);
    expect(smartResize(10, 2000, any).heightPx).toBe(28);
    expect(() => smartResize(10, 2001, any)).toThrow(VigorlError);
    expect(() => smartResize(2001, 10, any)).toThrow("2001 has an aspect ratio of 200.1");
    expect(() => smartResize(0, 10, any)).toThrow("empty");
  });
});

describe("roundHalfEven", () => {
  it("sends halves to the even neighbour, as Python does", () => {
    expect([0.5, 1.5, 2.5, 3.5, -0.5, -1.5].map((value) => roundHalfEven(value) + 0)).toEqual([
      0, 2, 2, 4, 0, -2,
    ]);
    expect([0.49, 0.51, 7, -1.2, 13.5 - 1e-9].map(roundHalfEven)).toEqual([0, 1, 7, -1, 13]);
  });
});
