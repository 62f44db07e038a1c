import fc from "fast-check";
import { expect, test } from "vitest";
import { VigorlError } from "../core/errors.ts";
import { bmpSize, decodeBmp } from "./bmp.ts";
import { decodeImage } from "./decode.ts";

interface Form {
  bits: number;
  width?: number;
  height?: number;
  compression?: number;
  /** Bytes of the header, and what follows its first 40. */
  header?: number;
  masks?: readonly number[];
  palette?: readonly number[];
  /** Where pixels begin; default behind all that. */
  start?: number;
  pixels?: Uint8Array;
}

/** A bitmap of zeros, or of `pixels`; what a form says may be nonsense. */
function bitmap(form: Form): Buffer {
  const { bits, width = 3, height = 2, compression = 0, header = 40, masks = [] } = form;
  const { palette = [] } = form;
  const head = Buffer.alloc(14 + header + (header === 40 ? 4 * masks.length : 0));
  head.write("BM");
  head.writeUInt32LE(header, 14);
  head.writeInt32LE(width, 18);
  head.writeInt32LE(height, 22);
  head.writeUInt16LE(1, 26);
  head.writeUInt16LE(bits, 28);
  head.writeUInt32LE(compression, 30);
  head.writeUInt32LE(palette.length / 4, 46);
  for (const [i, mask] of masks.entries()) head.writeUInt32LE(mask >>> 0, 54 + 4 * i);
  const start = form.start ?? head.length + palette.length;
  head.writeUInt32LE(start, 10);
  const stride = Math.ceil((Math.abs(width) * bits) / 32) * 4;
  const size = Math.min(1e6, stride * Math.abs(height));
  return Buffer.concat([head, Buffer.from(palette), form.pixels ?? Buffer.alloc(size)]);
}

test("rows stand from the bottom up, or from the top down where the height is negative", () => {
  const pixels = Buffer.from([1, 2, 3, 0, 4, 5, 6, 0]);
  const up = decodeBmp(bitmap({ bits: 24, width: 1, pixels }), "a.bmp", 100);
  expect([...up.data]).toEqual([6, 5, 4, 3, 2, 1]);
  const down = decodeBmp(bitmap({ bits: 24, width: 1, height: -2, pixels }), "a.bmp", 100);
  expect([...down.data]).toEqual([3, 2, 1, 6, 5, 4]);
  expect(bmpSize(bitmap({ bits: 24, width: 1, height: -2, pixels }), "a.bmp")).toEqual({
    widthPx: 1,
    heightPx: 2,
  });
});

test("transparency by mask is laid on white, and left out where the reading says so", async () => {
  const masks = [0xff0000, 0xff00, 0xff, 0xff000000];
  const pixels = Buffer.from([10, 20, 30, 0, 10, 20, 30, 255]);
  const file = bitmap({
    bits: 32,
    width: 2,
    height: 1,
    compression: 3,
    header: 108,
    masks,
    pixels,
  });
  expect([...(await decodeImage(file)).data]).toEqual([255, 255, 255, 30, 20, 10]);
  const without = await decodeImage(file, { reading: "transformers" });
  expect([...without.data]).toEqual([30, 20, 10, 30, 20, 10]);
});

test.each<[string, Form, RegExp]>([
  ["without its pixels", { bits: 24, pixels: Buffer.alloc(5) }, /pixels are missing/],
  ["of sides that no file holds", { bits: 24, width: 2 ** 31 - 1 }, /a size of 2147483647×2/],
  ["of no width", { bits: 24, width: 0 }, /a size of 0×2/],
  ["of a negative width", { bits: 24, width: -3 }, /a size of -3×2/],
  ["of the lowest height", { bits: 24, height: -(2 ** 31) }, /a size of/],
  ["larger than allowed", { bits: 1, width: 40_000, height: 40_000 }, /more than 1,000,000 pixels/],
  ["of odd bits", { bits: 7 }, /7 bits a pixel/],
  ["with run-length coding", { bits: 8, compression: 1 }, /compression 1 at 8 bits is not read/],
  ["with a PNG inside", { bits: 32, compression: 5 }, /compression 5 at 32 bits is not read/],
  ["with an unknown header", { bits: 24, header: 200 }, /headers of 200 bytes/],
  ["of pixels in the header", { bits: 24, start: 20 }, /begin inside the header/],
  ["of pixels beyond its end", { bits: 24, start: 4_000_000_000 }, /pixels are missing/],
  ["without a palette", { bits: 8 }, /no colour in the palette/],
  ["of masks that overlap", masked([0xff, 0xff, 0xff00]), /masks/],
  ["of masks with gaps", masked([0xf0f, 0xf0, 0xf000]), /masks/],
  ["of masks wider than a byte", masked([0xfff, 0xf000, 0xf0000]), /masks/],
  ["of masks that are nothing", masked([0, 0, 0]), /masks/],
])("a bitmap %s is refused by name", (_, form, message) => {
  const read = () => decodeBmp(bitmap(form), "a.bmp", 1_000_000);
  expect(read).toThrow(VigorlError);
  expect(read).toThrow(message);
});

function masked(masks: readonly number[]): Form {
  return { bits: 32, compression: 3, masks };
}

test("any header ends in pixels or in an error of ours, and allocates what the file holds", () => {
  const word = fc.oneof(
    fc.nat(40),
    fc.nat(0xffff),
    fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  );
  fc.assert(
    fc.property(fc.array(word, { minLength: 13, maxLength: 40 }), (words) => {
      const bytes = Buffer.alloc(2 + 4 * words.length);
      bytes.write("BM");
      for (const [i, value] of words.entries()) bytes.writeInt32LE(value, 2 + 4 * i);
      try {
        const { data, widthPx, heightPx } = decodeBmp(bytes, "a.bmp", 1e8);
        expect(widthPx * heightPx).toBeLessThanOrEqual(8 * bytes.length);
        expect(data.length % (widthPx * heightPx)).toBe(0);
      } catch (error) {
        if (!(error instanceof VigorlError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});
