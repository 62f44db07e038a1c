/**
 * Files and bytes in, RGB pixels out, and back. sharp decodes and encodes; it never resizes pixels that
 * a model will see. Everything becomes 8-bit RGB: grey, palette, CMYK, YCbCr and 16-bit converted,
 * orientation and transparency by the rule of `reading.ts`. Colour profiles are ignored, as Pillow does.
 * Of an animation the first frame is taken.
 */

import { resolve } from "node:path";
import type SharpModule from "sharp";
import type { Sharp } from "sharp";
import { errno, VigorlError } from "../core/errors.ts";
import { ownRequire } from "../core/paths.ts";
import { isLfsPointer, lfsPointerError, readRegular } from "../core/regular-file.ts";
import { bmpSize, decodeBmp } from "./bmp.ts";
import { fileFormats, formatOf, type ImageFormat } from "./formats.ts";
import type { Size } from "./frames.ts";
import { readings, type Reading, type ReadingName } from "./reading.ts";
import { holdsYcbcr } from "./tiff.ts";
import { cmykToRgb, cutGrey16, toRgb, ycbcrToRgb } from "./to-rgb.ts";

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
  /** Whose rule is followed where readers disagree; default our own. */
  readonly reading?: ReadingName;
  /** Where relative paths start, in words for the message of a missing file. */
  readonly relativeTo?: string;
}

/**
 * Decodes a file or its bytes (PNG, JPEG, WebP, GIF, TIFF, AVIF, BMP) to RGB.
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
  const reading = readings[options.reading ?? "own"];
  return asked(bytes, name, options, {
    bmp: (maxPixels) => {
      const { data, channels, ...size } = decodeBmp(bytes, name, maxPixels);
      return { ...size, data: toRgb(data, channels, reading.white !== "none") };
    },
    other: (open) => pixels(open, bytes, name, reading),
  });
}

/**
 * The size that an image says it has, with its sides as they are stored, before anything is decoded.
 * Throws VigorlError("input") as `decodeImage`, as far as a header shows it.
 */
export function imageSize(bytes: Uint8Array, options: DecodeOptions = {}): Promise<Size> {
  const name = options.name ?? nameOf(bytes);
  return asked(bytes, name, options, {
    bmp: () => bmpSize(bytes, name),
    other: async (open) => {
      const { width, height } = await open().metadata();
      return { widthPx: width, heightPx: height };
    },
  });
}

/** What is done with an image: sharp reads all formats but one. */
interface Work<T> {
  readonly bmp: (maxPixels: number) => T;
  readonly other: (open: () => Sharp) => Promise<T>;
}

/** What `work` makes of an image in a format that is allowed; whatever is wrong is an error of ours. */
async function asked<T>(
  bytes: Uint8Array,
  name: string,
  { maxPixels = 100_000_000, formats = fileFormats }: DecodeOptions,
  work: Work<T>,
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
  if (format === "BMP") return work.bmp(maxPixels);
  const options = { limitInputPixels: maxPixels, failOn: "error", ignoreIcc: true } as const;
  const sharp = loadSharp();
  try {
    return await work.other(() => sharp(bytes, options).timeout({ seconds: DECODE_SECONDS }));
  } catch (cause) {
    if (cause instanceof VigorlError) throw cause;
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
    loaded.unblock({ operation: Object.values(LOADERS) });
  }
  return loaded;
}

let loaded: typeof SharpModule | undefined;

/** Loads the decoder here, so that threads find its libraries. */
export function loadDecoder(): void {
  loadSharp();
}

const LOADERS: Readonly<Record<Exclude<ImageFormat, "BMP">, string>> = {
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

async function pixels(
  open: () => Sharp,
  bytes: Uint8Array,
  name: string,
  { turns, white, grey16 }: Reading,
): Promise<RgbImage> {
  const { space, depth, channels, hasAlpha, format } = await open().metadata();
  const upright = turns ? open().autoOrient() : open();
  const asIs = async (sharp: Sharp, sample: "uchar" | "ushort" = "uchar") => {
    const { data, info } = await sharp.raw({ depth: sample }).toBuffer({ resolveWithObject: true });
    const image = (rgb: Uint8Array): RgbImage => ({
      widthPx: info.width,
      heightPx: info.height,
      data: rgb,
    });
    return { data, numChannels: info.channels, image };
  };
  if (space === "cmyk") {
    const inks = upright.pipelineColourspace("cmyk").toColourspace("cmyk");
    const { data, numChannels, image } = await asIs(inks);
    return image(cmykToRgb(data, numChannels));
  }
  if (grey16 === "cut" && depth === "ushort" && channels === 1) {
    const { data, image } = await asIs(upright.toColourspace("grey16"), "ushort");
    return image(cutGrey16(new Uint16Array(data.buffer, data.byteOffset, data.length / 2)));
  }
  const { data, numChannels, image } = await asIs(upright.toColourspace("srgb"));
  if (format === "tiff" && holdsYcbcr(bytes, name)) return image(ycbcrToRgb(data, numChannels));
  const isOnWhite =
    white === "all" || (white === "rgba" && hasAlpha && storesRgba(bytes, format, channels));
  return image(toRgb(data, numChannels, isOnWhite));
}

/** Whether Pillow opens a file that has transparency as RGBA, and not as grey or a palette with some. */
function storesRgba(bytes: Uint8Array, format: string, channels: number): boolean {
  if (format !== "png") return format !== "gif" && channels === 4;
  const [bits, colourType] = bytes.subarray(24, 26);
  const isGreyWithAlpha = colourType === 4;
  return colourType === 6 || (isGreyWithAlpha && bits === 16);
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
