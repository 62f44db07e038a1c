import { describe, expect, it } from "vitest";
import { readFixture } from "./fixtures/digest.ts";
import { noiseImage } from "./fixtures/noise.ts";
import { resize } from "./resize.ts";
import { blankLike, imageHash, patches, toModelImage, unroundedSize } from "./model-image.ts";
import { patches14 } from "./fixtures/preprocessor.ts";
import { parsePreprocessorConfig } from "./preprocessor-config.ts";

interface Case {
  seed: number;
  size: [number, number];
  minPixels: number;
  maxPixels: number;
  grid: [number, number, number];
  shape: [number, number];
  /** Every 997th value. */
  picked: number[];
  /** Mean of value × (index mod 8191 + 1): moves when the order does. */
  weightedMean: number;
  /** The first 588 values as base64 float32. */
  head: string;
}

const fixture = readFixture<{ transformers: string; cases: Case[] }>("patches.json");

it("brings the longest side down first, then rounds sides to tokens", () => {
  const image = noiseImage(400, 300, 1);
  const budget = { minPixels: 3136, maxPixels: 1_000_000, maxSide: 250 };
  const seen = toModelImage(image, budget, patches14);
  const limited = resize(image, { widthPx: 250, heightPx: 187 }, "bicubic");
  const { maxSide: _, ...area } = budget;
  expect(seen.hash).toBe(toModelImage(limited, area, patches14).hash);
  expect([seen.widthPx, seen.heightPx]).toEqual([252, 196]);
  expect(toModelImage(noiseImage(240, 180, 1), budget, patches14).hash).toBe(
    toModelImage(noiseImage(240, 180, 1), area, patches14).hash,
  );
});

it("the published frame has rounded sides only above the largest area", () => {
  const frame = (widthPx: number, heightPx: number, maxPixels: number, maxSide?: number) => {
    const budget = { minPixels: 3136, maxPixels, ...(maxSide === undefined ? {} : { maxSide }) };
    const size = unroundedSize({ widthPx, heightPx }, budget, patches14);
    return [size.widthPx, size.heightPx];
  };
  expect(frame(1920, 1080, 4_194_304)).toEqual([1920, 1080]);
  expect(frame(3840, 2160, 4_194_304)).toEqual([2716, 1512]);
  expect(frame(3840, 2160, 12_960_000, 1260)).toEqual([1260, 708]);
  expect(frame(3840, 2160, 500_000, 1260)).toEqual([924, 504]);
});

describe(`patches equal those of transformers ${fixture.transformers}`, () => {
  for (const c of fixture.cases)
    it(`${c.size.join("×")} in ${c.minPixels}–${c.maxPixels} pixels`, () => {
      const image = toModelImage(noiseImage(...c.size, c.seed), c, patches14);
      const values = patches(image, patches14);
      expect([image.grid.t, image.grid.h, image.grid.w]).toEqual(c.grid);
      expect(image.numTokens).toBe(c.shape[0] / 4);
      expect(values.length).toBe(c.shape[0] * c.shape[1]);
      const picked = values.filter((_, i) => i % 997 === 0);
      expect(largestGap(picked, c.picked)).toBeLessThan(1e-6);
      const bytes = Buffer.from(c.head, "base64");
      const head = new Float32Array(new Uint8Array(bytes).buffer);
      expect(largestGap(values.subarray(0, 588), head)).toBeLessThan(1e-6);
      let sum = 0;
      for (let i = 0; i < values.length; i++) sum += values[i] * ((i % 8191) + 1);
      expect(sum / values.length).toBeCloseTo(c.weightedMean, 3);
    });
});

describe("toModelImage", () => {
  const budget = { minPixels: 3136, maxPixels: 12_845_056 };

  it("keeps the pixels of an image whose size fits", () => {
    const image = noiseImage(112, 84, 0);
    const seen = toModelImage(image, budget, patches14);
    expect(seen.data).toEqual(image.data);
    expect(seen).toMatchObject({ grid: { t: 1, h: 6, w: 8 }, numTokens: 12 });
  });

  it("names an image by size and pixels", () => {
    const image = noiseImage(56, 84, 0);
    const turned = { ...image, widthPx: 84, heightPx: 56 };
    const changed = { ...image, data: image.data.slice() };
    changed.data[100] ^= 1;
    const hashes = [image, turned, changed].map(imageHash);
    expect(new Set(hashes).size).toBe(3);
    expect(hashes[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(toModelImage(image, budget, patches14).hash).toBe(hashes[0]);
  });

  it("follows other patch sizes", () => {
    const config = { ...patches14, patchSize: 8, temporalPatchSize: 1 };
    const seen = toModelImage(noiseImage(64, 48, 0), { minPixels: 256, maxPixels: 1e6 }, config);
    expect(seen).toMatchObject({ widthPx: 64, heightPx: 48, grid: { h: 6, w: 8 } });
    expect(patches(seen, config).length).toBe(48 * 3 * 64);
  });

  it("blanks an image without changing its grid", () => {
    const seen = toModelImage(noiseImage(56, 84, 0), budget, patches14);
    const blank = blankLike(seen);
    expect(blank.data.every((level) => level === 0)).toBe(true);
    expect(blank.grid).toEqual(seen.grid);
    expect(blank.hash).not.toBe(seen.hash);
  });
});

describe("parsePreprocessorConfig", () => {
  const parse = (json: object) => parsePreprocessorConfig(json, "p.json", patches14);

  it("takes Qwen's values where the file says nothing", () => {
    expect(parse({ image_processor_type: "Qwen2VLImageProcessor", size: null })).toEqual(patches14);
  });

  it("reads the budget from either spelling", () => {
    const size = { shortest_edge: 784, longest_edge: 50_176 };
    expect(parse({ size })).toMatchObject({
      minPixels: 784,
      maxPixels: 50_176,
    });
    expect(parse({ min_pixels: 4, size }).minPixels).toBe(4);
  });

  it("takes Qwen2-VL's spelling of areas, and null for a default", () => {
    const size = { min_pixels: 784, max_pixels: 50_176 };
    const read = parse({ size, do_convert_rgb: null, resample: null, min_pixels: null });
    expect(read).toMatchObject({ minPixels: 784, maxPixels: 50_176 });
  });

  it("refuses what it would not honour, naming file and key", () => {
    for (const [key, value] of Object.entries({
      image_processor_type: "CLIPImageProcessor",
      do_normalize: false,
      do_center_crop: true,
      size: { height: 448, width: 448 },
      resample: 2,
      rescale_factor: 1,
      patch_size: 0,
      merge_size: 1e6,
      image_std: [0, 1, 1],
    }))
      expect(() => parse({ [key]: value })).toThrow(`p.json: ${key}`);
    expect(() => parse({ min_pixels: 9, max_pixels: 4 })).toThrow("larger than max_pixels");
  });
});

function largestGap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i])));
}
