import { readFileSync } from "node:fs";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { VigorlError } from "../core/errors.ts";
import { decodeImage, encodeJpeg, encodePng, imageSize } from "./decode.ts";
import { fixturePath, readFixture, sha256 } from "./fixtures/digest.ts";
import { noiseImage } from "./fixtures/noise.ts";
import { webFormats } from "./formats.ts";

const { pillow, files } = readFixture<{
  pillow: string;
  files: Record<string, { size: [number, number]; sha256: string }>;
}>("decode.json");

describe(`decodeImage reads what Pillow ${pillow} reads`, () => {
  for (const [name, expected] of Object.entries(files))
    it(`${name}`, async () => {
      const image = await decodeImage(fixturePath(name));
      expect([image.widthPx, image.heightPx]).toEqual(expected.size);
      expect(image.data.length).toBe(expected.size[0] * expected.size[1] * 3);
      expect(sha256(image.data)).toBe(expected.sha256);
    });
});

describe("decodeImage", () => {
  it("reads bytes like files", async () => {
    const path = fixturePath("rgb.png");
    expect(await decodeImage(readFileSync(path))).toEqual(await decodeImage(path));
  });

  const refusals: [string, () => string | Uint8Array, RegExp, RegExp][] = [
    ["a missing file", () => "no/such.png", /^no\/such\.png: image not found/, /path/],
    ["a folder", () => fixturePath("."), /folder, not an image/, /one file/],
    ["no bytes", () => new Uint8Array(0), /empty/, /again/],
    ["text", () => fixturePath("resize.json"), /resize\.json: this is not an image/, /PNG/],
    ["a drawing that is a program", () => text(svg), /SVG is not read/, /use PNG/],
    [
      "one behind a prologue",
      () => text(`<?xml version="1.0"?>\n${svg}`),
      /SVG is not read/,
      /PNG/,
    ],
    ["one behind the name of a WebP", () => text(`RIFF....WEBP${svg}`), /not an image/, /PNG/],
    ["one behind the name of a GIF", () => text(`GIF89a${svg}`), /damaged/, /again/],
    ["an icon", () => text(`\0\0\x01\0${"\0".repeat(60)}`), /ICO is not read/, /PNG/],
    ["a document", () => text("%PDF-1.7"), /PDF is not read/, /PNG/],
    ["a cut-off PNG", () => cut("rgb.png"), /cut off or damaged/, /again/],
    ["a cut-off JPEG", () => cut("rgb.jpg"), /cut off or damaged/, /again/],
  ];
  for (const [what, source, message, hint] of refusals)
    it(`refuses ${what}, naming it and the fix`, async () => {
      const error = await failure(decodeImage(source()));
      expect(error.code).toBe("input");
      expect(error.message).toMatch(message);
      expect(error.hint).toMatch(hint);
    });

  it("refuses an enormous image before decoding it", async () => {
    const bomb = await sharp({
      create: { width: 12_000, height: 9_000, channels: 3, background: "white" },
    })
      .png()
      .toBuffer();
    const error = await failure(decodeImage(bomb, { name: "bomb.png" }));
    expect(error.message).toBe("bomb.png: the image has more than 100,000,000 pixels");
    const small = await failure(decodeImage(fixturePath("rgb.png"), { maxPixels: 1000 }));
    expect(small.message).toMatch(/rgb\.png: the image has more than 1,000 pixels/);
  });
});

it("tells the size from the header, and only formats that were asked for", async () => {
  const png = readFileSync(fixturePath("rgb.png"));
  const { widthPx, heightPx } = await decodeImage(png);
  expect(await imageSize(cut("rgb.png"))).toEqual({ widthPx, heightPx });
  const tiff = await sharp(png).tiff().toBuffer();
  expect(await imageSize(tiff)).toEqual({ widthPx, heightPx });
  const error = await failure(imageSize(tiff, { formats: webFormats }));
  expect(error.message).toMatch(/TIFF is not read/);
});

describe("encode", () => {
  it("writes PNG without loss and JPEG at the right size", async () => {
    const image = noiseImage(31, 17, 0);
    expect(await decodeImage(await encodePng(image))).toEqual(image);
    const jpeg = await decodeImage(await encodeJpeg(image, 60));
    expect([jpeg.widthPx, jpeg.heightPx]).toEqual([31, 17]);
  });
});

const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"><rect width="3" height="2"/></svg>`;

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

function cut(name: string): Uint8Array {
  const bytes = readFileSync(fixturePath(name));
  return bytes.subarray(0, bytes.length >> 1);
}

async function failure(promise: Promise<unknown>): Promise<VigorlError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof VigorlError)) throw new Error("expected a VigorlError", { cause: error });
  return error;
}
