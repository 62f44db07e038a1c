/**
 * Files and bytes in, RGB pixels out, and back. sharp decodes and encodes; it never resizes pixels that
 * a model will see. Everything becomes 8-bit RGB: orientation applied, transparency laid on white,
 * grey, palette, CMYK and 16-bit converted. Colour profiles are ignored, as Pillow does. Of an
 * animation the first frame is taken.
 */

import { resolve } from "node:path";
import type SharpModule from "sharp";
import type { Sharp } from "sharp";
import { errno, VigorlError } from "../core/errors.ts";
import { ownRequire } from "../core/paths.ts";
import { isLfsPointer, lfsPointerError, readRegular } from "../core/regular-file.ts";
import { fileFormats, formatOf, type ImageFormat } from "./formats.ts";
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
  /** Refuse all others, by their first bytes. Default `fileFormats`. */
  readonly formats?: readonly ImageFormat[];
  /** Where relative paths start, in words for the message of a missing file. */
  readonly relativeTo?: string;
}

/**
 * Decodes a file or its bytes (PNG, JPEG, WebP, GIF, TIFF, AVIF) to RGB.
 * Throws VigorlError("input") when it is missing, no image, cut off, larger than `maxPixels`, or not
 * decoded within 20 s.
 */
export async function decodeImage(
  source: string | Uint8Array,
  options: DecodeOptions = {},
): Promise<RgbImage> {
  const name = options.name ?? nameOf(source);
  const { relativeTo = "the current folder" } = options;
  const bytes = typeof source === "string" ? await readBytes(source, name, relativeTo) : source;
  return asked(bytes, name, options, (open) => pixels(open));
}

/**
 * The size that an image says it has, with its sides as they are stored, before anything is decoded.
 * Throws VigorlError("input") as `decodeImage`, as far as a header shows it.
 */
export function imageSize(bytes: Uint8Array, options: DecodeOptions = {}): Promise<Size> {
  const name = options.name ?? nameOf(bytes);
  return asked(bytes, name, options, async (open) => {
    const { width, height } = await open().metadata();
    return { widthPx: width, heightPx: height };
  });
}

/** What `work` makes of an image in a format that is allowed; whatever is wrong is an error of ours. */
async function asked<T>(
  bytes: Uint8Array,
  name: string,
  { maxPixels = 100_000_000, formats = fileFormats }: DecodeOptions,
  work: (open: () => Sharp) => Promise<T>,
): Promise<T> {
  if (bytes.length === 0)
    throw new VigorlError("input", `${name}: the image is empty (0 bytes)`, {
      hint: "download or export it again",
    });
  if (isLfsPointer(bytes)) throw lfsPointerError(name);
  const format = formatOf(bytes);
  if (!formats.some((one) => one === format)) {
    const what =
      format === null ? "this is not an image that can be read" : `${format} is not read`;
    throw new VigorlError("input", `${name}: ${what}`, {
      hint: `use ${formats.slice(0, -1).join(", ")} or ${formats.at(-1)}`,
    });
  }
  const options = { limitInputPixels: maxPixels, failOn: "error", ignoreIcc: true } as const;
  const sharp = loadSharp();
  try {
    return await work(() => sharp(bytes, options).timeout({ seconds: DECODE_SECONDS }));
  } catch (cause) {
    throw decodeError(name, cause, maxPixels);
  }
}

/** Longest that one decoding may take; the largest that is allowed takes a tenth of it. */
const DECODE_SECONDS = 20;

/** Encodes as PNG, without loss. */
export function encodePng(image: RgbImage): Promise<Uint8Array> {
  return raw(image).png({ compressionLevel: 6 }).toBuffer();
}

/** Encodes as JPEG; `quality` 1–100. */
export function encodeJpeg(image: RgbImage, quality = 90): Promise<Uint8Array> {
  return raw(image).jpeg({ quality }).toBuffer();
}

/** Native code: loaded at first use, and never through a bundler. */
function loadSharp(): typeof SharpModule {
  if (loaded === undefined) {
    loaded = ownRequire()("sharp") as typeof SharpModule;
    // What is not asked for cannot be reached by bytes that look like two formats at once.
    loaded.block({ operation: ["VipsForeignLoad"] });
    loaded.unblock({ operation: fileFormats.map((format) => LOADERS[format]) });
  }
  return loaded;
}

let loaded: typeof SharpModule | undefined;

/** Loads the decoder here, so that threads find its libraries. */
export function loadDecoder(): void {
  loadSharp();
}

const LOADERS: Readonly<Record<ImageFormat, string>> = {
  PNG: "VipsForeignLoadPng",
  JPEG: "VipsForeignLoadJpeg",
  WebP: "VipsForeignLoadWebp",
  GIF: "VipsForeignLoadNsgif",
  TIFF: "VipsForeignLoadTiff",
  AVIF: "VipsForeignLoadHeif",
};

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

async function pixels(open: () => Sharp): Promise<RgbImage> {
  const { space } = await open().metadata();
  const upright = open().autoOrient();
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
  const reason = message.split("\n")[0];
  return new VigorlError("input", `${name}: the image is cut off or damaged (${reason})`, {
    hint: "download or export it again",
    cause,
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
