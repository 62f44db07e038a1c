/**
 * Files and bytes in, RGB pixels out, and back. sharp decodes and encodes; it never resizes pixels that
 * a model will see. Everything becomes 8-bit RGB: orientation applied, transparency laid on white,
 * grey, palette, CMYK and 16-bit converted. Colour profiles are ignored, as Pillow does. Of an
 * animation the first frame is taken.
 */

import { resolve } from "node:path";
import type Sharp from "sharp";
import { errno, VigorlError } from "../core/errors.ts";
import { ownRequire } from "../core/paths.ts";
import { isLfsPointer, lfsPointerError, readRegular } from "../core/regular-file.ts";
import type { Size } from "./frames.ts";

/** An image in memory: 8-bit RGB, row-major, `data.length = heightPx * widthPx * 3`. */
export interface RgbImage extends Size {
  readonly data: Uint8Array;
}

export interface DecodeOptions {
  /** Refuse larger images (a guard against decompression bombs). Default 100 million pixels. */
  readonly maxPixels?: number;
  /** How errors call the image; by default its path, or its number of bytes. */
  readonly name?: string;
  /** Where relative paths start, in words for the message of a missing file. */
  readonly relativeTo?: string;
}

/**
 * Decodes a file or its bytes (PNG, JPEG, WebP, GIF, TIFF, AVIF, SVG) to RGB.
 * Throws VigorlError("input") when it is missing, no image, cut off or larger than `maxPixels`.
 */
export async function decodeImage(
  source: string | Uint8Array,
  {
    maxPixels = 100_000_000,
    name = nameOf(source),
    relativeTo = "the current folder",
  }: DecodeOptions = {},
): Promise<RgbImage> {
  const bytes = typeof source === "string" ? await readBytes(source, name, relativeTo) : source;
  if (bytes.length === 0)
    throw new VigorlError("input", `${name}: the image is empty (0 bytes)`, {
      hint: "download or export it again",
    });
  if (isLfsPointer(bytes)) throw lfsPointerError(name);
  try {
    return await pixels(bytes, maxPixels);
  } catch (cause) {
    throw decodeError(name, cause, maxPixels);
  }
}

/** Encodes as PNG, without loss. */
export function encodePng(image: RgbImage): Promise<Uint8Array> {
  return raw(image).png({ compressionLevel: 6 }).toBuffer();
}

/** Encodes as JPEG; `quality` 1–100. */
export function encodeJpeg(image: RgbImage, quality = 90): Promise<Uint8Array> {
  return raw(image).jpeg({ quality }).toBuffer();
}

/** Native code: loaded at first use, and never through a bundler. */
const loadSharp = () => ownRequire()("sharp") as typeof Sharp;

function raw(image: RgbImage) {
  const { data, widthPx: width, heightPx: height } = image;
  const sharp = loadSharp();
  return sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false });
}

function nameOf(source: string | Uint8Array): string {
  return typeof source === "string" ? source : `image of ${source.length} bytes`;
}

/** More than any picture that is worth reading. */
const maxImageBytes = 1 << 30;

async function readBytes(path: string, name: string, relativeTo: string): Promise<Uint8Array> {
  try {
    return await readRegular(path, maxImageBytes);
  } catch (error) {
    if (!(error instanceof VigorlError)) throw error;
    if (errno(error.cause) === "ENOENT")
      throw new VigorlError("input", `${name}: image not found`, {
        hint: `there is no ${resolve(path)}; relative paths start at ${relativeTo}`,
        cause: error,
      });
    const what = error.message.replace(`${path}: `, "").replace(/, not a file$/, ", not an image");
    const hint = error.hint ?? "name one image file";
    throw new VigorlError("input", `${name}: ${what}`, { hint, cause: error });
  }
}

async function pixels(bytes: Uint8Array, maxPixels: number): Promise<RgbImage> {
  const options = { limitInputPixels: maxPixels, failOn: "error", ignoreIcc: true } as const;
  const sharp = loadSharp();
  const { space } = await sharp(bytes, options).metadata();
  const upright = sharp(bytes, options).autoOrient();
  const isCmyk = space === "cmyk";
  const { data, info } = await (
    isCmyk
      ? upright.pipelineColourspace("cmyk").toColourspace("cmyk")
      : upright.toColourspace("srgb")
  )
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  const rgb = isCmyk ? cmykToRgb(data, info.channels) : toRgb(data, info.channels);
  return { widthPx: info.width, heightPx: info.height, data: rgb };
}

/** Subtracts inks from white with Pillow's rounding; no ink profile. */
function cmykToRgb(data: Uint8Array, numChannels: number): Uint8Array {
  const numPixels = data.length / numChannels;
  const result = new Uint8Array(numPixels * 3);
  for (let i = 0; i < numPixels; i++) {
    const light = 255 - data[i * numChannels + 3];
    for (let c = 0; c < 3; c++)
      result[i * 3 + c] = light - divideBy255(data[i * numChannels + c] * light);
  }
  return result;
}

/** Keeps RGB, widens grey, and lays RGBA on white with Pillow's rounding. */
function toRgb(data: Uint8Array, numChannels: number): Uint8Array {
  if (numChannels === 3) return new Uint8Array(data.buffer, data.byteOffset, data.length);
  const numPixels = data.length / numChannels;
  const result = new Uint8Array(numPixels * 3);
  const hasAlpha = numChannels === 2 || numChannels === 4;
  const isGrey = numChannels < 3;
  for (let i = 0; i < numPixels; i++) {
    const from = i * numChannels;
    const alpha = hasAlpha ? data[from + numChannels - 1] : 255;
    for (let c = 0; c < 3; c++) {
      const level = data[from + (isGrey ? 0 : c)];
      result[i * 3 + c] = divideBy255(level * alpha + 255 * (255 - alpha));
    }
  }
  return result;
}

/** Rounds value / 255 for values up to 255². */
function divideBy255(value: number): number {
  const moved = value + 128;
  return ((moved >> 8) + moved) >> 8;
}

function decodeError(name: string, cause: unknown, maxPixels: number): VigorlError {
  const message = messageOf(cause);
  if (/pixel limit/i.test(message))
    return new VigorlError(
      "input",
      `${name}: the image has more than ${maxPixels.toLocaleString("en")} pixels`,
      { hint: "shrink the image, or raise maxPixels if you trust the file", cause },
    );
  if (/unsupported image format|unknown (image )?format/i.test(message))
    return new VigorlError("input", `${name}: this is not an image that can be read`, {
      hint: "use PNG, JPEG, WebP, GIF, TIFF, AVIF or SVG",
      cause,
    });
  const reason = message.split("\n")[0];
  return new VigorlError("input", `${name}: the image is cut off or damaged (${reason})`, {
    hint: "download or export it again",
    cause,
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
