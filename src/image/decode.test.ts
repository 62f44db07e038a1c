import { readFileSync } from "node:fs";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { VigorlError } from "../core/errors.ts";
import { decodeImage, encodeJpeg, encodePng } from "./decode.ts";
import { fixturePath, readFixture, sha256 } from "./fixtures/digest.ts";
import { noiseImage } from "./fixtures/noise.ts";

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
  it("reads bytes like files, and an SVG", async () => {
    const path = fixturePath("rgb.png");
    expect(await decodeImage(readFileSync(path))).toEqual(await decodeImage(path));
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"><rect width="3" height="2" fill="#f00"/></svg>`;
    const image = await decodeImage(new TextEncoder().encode(svg));
    expect([image.widthPx, image.heightPx, ...image.data.subarray(0, 3)]).toEqual([
      3, 2, 255, 0, 0,
    ]);
  });

  const refusals: [string, () => string | Uint8Array, RegExp, RegExp][] = [
    ["a missing file", () => "no/such.png", /^no\/such\.png: image not found/, /path/],
    ["a folder", () => fixturePath("."), /folder, not an image/, /one file/],
    ["no bytes", () => new Uint8Array(0), /empty/, /again/],
    ["text", () => fixturePath("resize.json"), /resize\.json: this is not an image/, /PNG/],
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

describe("encode", () => {
  it("writes PNG without loss and JPEG at the right size", async () => {
    const image = noiseImage(31, 17, 0);
    expect(await decodeImage(await encodePng(image))).toEqual(image);
    const jpeg = await decodeImage(await encodeJpeg(image, 60));
    expect([jpeg.widthPx, jpeg.heightPx]).toEqual([31, 17]);
  });
});

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
