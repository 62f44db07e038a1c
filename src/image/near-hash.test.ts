import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stream } from "../core/random.ts";
import { decodeImage, encodeJpeg, type RgbImage } from "./decode.ts";
import {
  alignedCorrelation,
  bitsApart,
  hashWindows,
  SmallPicture,
  wholeWindow,
} from "./near-hash.ts";
import { resize } from "./resize.ts";

/** Discs of random grey levels and places on a slope: no two seeds alike. */
function picture(seed: number, widthPx = 320, heightPx = 240): RgbImage {
  const rng = stream(seed, "near");
  const discs = Array.from({ length: 14 }, () => ({
    x: rng.float() * widthPx,
    y: rng.float() * heightPx,
    r: rng.uniform(10, 60),
    colour: [rng.int(0, 255), rng.int(0, 255), rng.int(0, 255)],
  }));
  const data = new Uint8Array(widthPx * heightPx * 3);
  for (let y = 0; y < heightPx; y++)
    for (let x = 0; x < widthPx; x++) {
      const on = discs.findLast((disc) => Math.hypot(x - disc.x, y - disc.y) < disc.r);
      data.set(
        on?.colour ?? [(x * 200) / widthPx, 90, (y * 200) / heightPx],
        3 * (y * widthPx + x),
      );
    }
  return { widthPx, heightPx, data };
}

function cut(
  { widthPx, data }: RgbImage,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
): RgbImage {
  const out = new Uint8Array((x1 - x0) * (y1 - y0) * 3);
  for (let y = y0; y < y1; y++)
    out.set(
      data.subarray(3 * (y * widthPx + x0), 3 * (y * widthPx + x1)),
      3 * (y - y0) * (x1 - x0),
    );
  return { widthPx: x1 - x0, heightPx: y1 - y0, data: out };
}

/** The best of all windows by bits, as an index finds it, and how well it fits then. */
function compared(image: RgbImage, original: RgbImage): { bits: number; fit: number | null } {
  const [one, other] = [SmallPicture.of(image), SmallPicture.of(original)];
  const [high, low] = one.hash(wholeWindow);
  const found = hashWindows.map((window) => {
    const [a, b] = other.hash(window);
    return { window, bits: bitsApart(a, high) + bitsApart(b, low) };
  });
  const { window, bits } = found.reduce((best, next) => (next.bits < best.bits ? next : best));
  return { bits, fit: alignedCorrelation(one, other, window) };
}

const size = (widthPx: number, heightPx: number) => ({ widthPx, heightPx });
const changes: [string, (image: RgbImage) => RgbImage | Promise<RgbImage>][] = [
  ["a JPEG of quality 30", async (image) => decodeImage(await encodeJpeg(image, 30))],
  ["half its size", (image) => resize(image, size(160, 120), "bicubic")],
  ["twice its size", (image) => resize(image, size(640, 480), "lanczos")],
  ["another shape", (image) => resize(image, size(320, 150), "bilinear")],
  ["cut at one edge", (image) => cut(image, 0, 0, 270, 240)],
  [
    "cut at all edges, small, a JPEG",
    async (image) => {
      const small = resize(cut(image, 40, 13, 300, 220), size(130, 100), "bilinear");
      return decodeImage(await encodeJpeg(small, 60));
    },
  ],
];

describe("the same picture is found as", () => {
  test.each(changes)("%s", async (_, change) => {
    for (let seed = 0; seed < 2; seed++) {
      const { bits, fit } = compared(await change(picture(seed)), picture(seed));
      expect(bits).toBeLessThanOrEqual(11);
      expect(fit).toBeGreaterThan(0.9);
    }
  });
});

test("other pictures are not", () => {
  const pictures = Array.from({ length: 8 }, (_, seed) => picture(seed));
  for (const [i, image] of pictures.entries())
    for (const original of pictures.slice(0, i)) {
      const { bits, fit } = compared(image, original);
      expect(bits > 11 || fit === null || fit < 0.9).toBe(true);
    }
});

test("a plain picture shows nothing to compare", () => {
  const plain = new SmallPicture(new Uint8Array(64 * 64).fill(200));
  expect(alignedCorrelation(plain, SmallPicture.of(picture(1)), wholeWindow)).toBeNull();
  expect(alignedCorrelation(SmallPicture.of(picture(1)), plain, wholeWindow)).toBeNull();
});

test("means are those of the cells, whatever parts of them a window cuts", () => {
  const grey = Uint8Array.from({ length: 64 * 64 }, (_, i) => (i * 37) % 251);
  const small = new SmallPicture(grey);
  const [all] = small.means(wholeWindow, 1, 1);
  expect(all).toBeCloseTo(grey.reduce((a, b) => a + b) / grey.length, 9);
  const [part] = small.means({ x0: 1.5, y0: 2, x1: 3, y1: 3 }, 1, 1);
  expect(part).toBeCloseTo((0.5 * grey[129] + grey[130]) / 1.5, 9);
});

test("bits that differ are counted", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      (a, b) => {
        const bits = ((a ^ b) >>> 0).toString(2).replaceAll("0", "").length;
        expect(bitsApart(a, b)).toBe(bits);
      },
    ),
  );
});
