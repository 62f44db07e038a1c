import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readFixture, sha256 } from "./fixtures/digest.ts";
import { noiseImage } from "./fixtures/noise.ts";
import { resize, type Filter, type ResizeOrder } from "./resize.ts";

interface Case {
  seed: number;
  from: [number, number];
  to: [number, number];
  filter: Filter;
  order?: ResizeOrder;
  sha256: string;
}

const { pillow, cases } = readFixture<{ pillow: string; cases: Case[] }>("resize.json");
const filters = fc.constantFrom<Filter>("bicubic", "lanczos", "bilinear");
const side = fc.integer({ min: 1, max: 40 });

describe(`resize equals Pillow ${pillow} bit for bit`, () => {
  for (const { seed, from, to, filter, order, sha256: expected } of cases)
    it(`${from.join("×")} → ${to.join("×")} ${filter} ${order ?? ""}`, () => {
      const size = { widthPx: to[0], heightPx: to[1] };
      const result = resize(noiseImage(...from, seed), size, filter, order);
      expect([result.widthPx, result.heightPx]).toEqual(to);
      expect(sha256(result.data)).toBe(expected);
    });
});

describe("resize", () => {
  it("keeps a plain colour at every size", () => {
    fc.assert(
      fc.property(side, side, side, side, filters, (w, h, toW, toH, filter) => {
        const data = new Uint8Array(w * h * 3).map((_, i) => [0, 255, 131][i % 3]);
        const result = resize(
          { widthPx: w, heightPx: h, data },
          { widthPx: toW, heightPx: toH },
          filter,
        );
        expect(result.data).toEqual(
          new Uint8Array(toW * toH * 3).map((_, i) => [0, 255, 131][i % 3]),
        );
      }),
    );
  });

  it("copies an image whose size does not change", () => {
    const image = noiseImage(20, 10, 0);
    const result = resize(image, image, "bicubic");
    expect(result.data).toEqual(image.data);
    expect(result.data).not.toBe(image.data);
  });

  it("gives the same bytes again from cached coefficients", () => {
    const image = noiseImage(50, 30, 2);
    const size = { widthPx: 28, heightPx: 56 };
    expect(resize(image, size, "lanczos").data).toEqual(resize(image, size, "lanczos").data);
  });
});
