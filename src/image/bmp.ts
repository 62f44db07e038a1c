/**
 * Bitmaps of Windows, uncompressed: 1, 4 and 8 bits with a palette, 16 and 32 with masks or without, 24.
 * What its decoder gives equals Pillow's pixels. Left out: run-length coding, and JPEG or PNG inside.
 */
import { VigorlError } from "../core/errors.ts";
import type { Size } from "./frames.ts";

/** 8-bit RGB, or RGBA where the file has an alpha mask. */
export interface BmpPixels extends Size {
  readonly data: Uint8Array;
  readonly channels: 3 | 4;
}

interface Header extends Size {
  readonly isTopDown: boolean;
  readonly bits: 1 | 4 | 8 | 16 | 24 | 32;
  /** Where pixels begin, and bytes of a row with its padding. */
  readonly start: number;
  readonly stride: number;
  /** Entries of 3 or 4 bytes, B G R. */
  readonly palette: { readonly start: number; readonly count: number; readonly entry: 3 | 4 };
  /** R, G, B, A; 0 where there is none. */
  readonly masks: readonly [number, number, number, number];
}

/** The size that a bitmap says it has. @throws VigorlError("input") */
export function bmpSize(bytes: Uint8Array, name: string): Size {
  const { widthPx, heightPx } = readHeader(bytes, name);
  return { widthPx, heightPx };
}

/**
 * Decodes a bitmap. Nothing is allocated for pixels that the file does not hold.
 * @throws VigorlError("input") for one that is cut off, damaged, larger than `maxPixels`, or in a form
 *   that is not read
 */
export function decodeBmp(bytes: Uint8Array, name: string, maxPixels: number): BmpPixels {
  const header = readHeader(bytes, name);
  const { widthPx, heightPx, start, stride, isTopDown } = header;
  if (widthPx * heightPx > maxPixels)
    throw new VigorlError(
      "input",
      `${name}: the image has more than ${maxPixels.toLocaleString("en")} pixels`,
      { hint: "shrink the image, or raise maxPixels if you trust the file" },
    );
  if (start + stride * heightPx > bytes.length) throw damaged(name, "pixels are missing");
  const channels = header.masks[3] === 0 ? 3 : 4;
  const data = new Uint8Array(widthPx * heightPx * channels);
  const row = rowReader(bytes, header, name);
  for (let y = 0; y < heightPx; y++) {
    const from = start + stride * (isTopDown ? y : heightPx - 1 - y);
    row(from, data, y * widthPx * channels);
  }
  return { widthPx, heightPx, data, channels };
}

/** Reads the row at a byte of the file into `data`. */
type RowReader = (from: number, data: Uint8Array, to: number) => void;

function rowReader(bytes: Uint8Array, header: Header, name: string): RowReader {
  const { bits } = header;
  if (bits === 24) return (from, data, to) => copyBgr(bytes, from, data, to, header.widthPx);
  return bits === 16 || bits === 32 ? maskedRow(bytes, header) : indexedRow(bytes, header, name);
}

function copyBgr(bytes: Uint8Array, from: number, data: Uint8Array, to: number, n: number): void {
  for (let x = 0; x < n; x++, from += 3, to += 3) {
    data[to] = bytes[from + 2];
    data[to + 1] = bytes[from + 1];
    data[to + 2] = bytes[from];
  }
}

/** Whole pixels of 16 or 32 bits, each channel a run of bits that is widened to eight. */
function maskedRow(bytes: Uint8Array, { bits, masks, widthPx }: Header): RowReader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const channels = masks.filter((mask) => mask !== 0).map(channelOf);
  return (from, data, to) => {
    for (let x = 0; x < widthPx; x++) {
      const pixel =
        bits === 32 ? view.getUint32(from + 4 * x, true) : view.getUint16(from + 2 * x, true);
      for (const { shift, most } of channels)
        data[to++] = Math.floor((((pixel >>> shift) & most) * 255) / most);
    }
  };
}

function channelOf(mask: number): { shift: number; most: number } {
  const shift = 31 - Math.clz32(mask & -mask);
  return { shift, most: mask >>> shift };
}

function indexedRow(bytes: Uint8Array, header: Header, name: string): RowReader {
  const { bits, widthPx, palette } = header;
  const perByte = 8 / bits;
  const most = (1 << bits) - 1;
  return (from, data, to) => {
    for (let x = 0; x < widthPx; x++) {
      const byte = bytes[from + Math.floor(x / perByte)];
      const index = (byte >> (8 - bits - (x % perByte) * bits)) & most;
      if (index >= palette.count) throw damaged(name, `a pixel has no colour in the palette`);
      copyBgr(bytes, palette.start + index * palette.entry, data, to + 3 * x, 1);
    }
  };
}

/** Sides beyond this are no picture of anything. */
const maxSide = 1 << 20;
const plain = 0;
const bitFields = 3;
const alphaBitFields = 6;

function readHeader(bytes: Uint8Array, name: string): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 26) throw damaged(name, "the header is cut off");
  const start = view.getUint32(10, true);
  const length = view.getUint32(14, true);
  const isOld = length === 12;
  if (!isOld && (length < 40 || length > 124)) throw unread(name, `headers of ${length} bytes`);
  if (bytes.length < 14 + length) throw damaged(name, "the header is cut off");
  const [width, height] = isOld
    ? [view.getUint16(18, true), view.getUint16(20, true)]
    : [view.getInt32(18, true), view.getInt32(22, true)];
  const bits = view.getUint16(isOld ? 24 : 28, true);
  const compression = isOld ? plain : view.getUint32(30, true);
  const heightPx = Math.abs(height);
  if (width < 1 || heightPx < 1 || width > maxSide || heightPx > maxSide)
    throw damaged(name, `a size of ${width}×${height}`);
  if (bits !== 1 && bits !== 4 && bits !== 8 && bits !== 16 && bits !== 24 && bits !== 32)
    throw damaged(name, `${bits} bits a pixel`);
  const isMasked = compression === bitFields || compression === alphaBitFields;
  if (compression !== plain && !(isMasked && (bits === 16 || bits === 32)))
    throw unread(name, `compression ${compression} at ${bits} bits`);
  const entry = isOld ? 3 : 4;
  // Headers of 40 bytes have their masks behind them; in longer ones they stand in the same place.
  const numMasks = compression === alphaBitFields || length >= 56 ? 4 : 3;
  const behind = isMasked && length === 40 ? 4 * numMasks : 0;
  const paletteStart = 14 + length + behind;
  if (isMasked && bytes.length < 54 + 4 * numMasks) throw damaged(name, "the masks are cut off");
  const masks = isMasked
    ? masksOf([0, 1, 2, 3].map((i) => (i < numMasks ? view.getUint32(54 + 4 * i, true) : 0)))
    : bits === 16
      ? ([0x7c00, 0x3e0, 0x1f, 0] as const)
      : ([0xff0000, 0xff00, 0xff, 0] as const);
  if (masks === null) throw damaged(name, "masks that are no channels");
  const named = isOld ? 0 : view.getUint32(46, true);
  const most = bits <= 8 ? 1 << bits : 0;
  const count = named === 0 ? most : Math.min(named, most);
  if (start < paletteStart) throw damaged(name, "pixels that begin inside the header");
  const room = Math.floor((Math.min(start, bytes.length) - paletteStart) / entry);
  const palette = { start: paletteStart, count: Math.min(count, room), entry } as const;
  const stride = Math.ceil((width * bits) / 32) * 4;
  return { widthPx: width, heightPx, isTopDown: height < 0, bits, start, stride, palette, masks };
}

/** Runs of at most eight neighbouring bits that do not overlap; all but the last have to be there. */
function masksOf(masks: readonly number[]): Header["masks"] | null {
  const [red, green, blue, alpha] = masks;
  const isRun = (mask: number) => {
    const run = mask >>> (31 - Math.clz32(mask & -mask));
    return run <= 0xff && (run & (run + 1)) === 0;
  };
  if ([red, green, blue].some((mask) => mask === 0 || !isRun(mask))) return null;
  if (alpha !== 0 && !isRun(alpha)) return null;
  const sum = [red, green, blue, alpha].reduce((bits, mask) => bits + mask, 0);
  const union = (red | green | blue | alpha) >>> 0;
  return sum === union ? [red, green, blue, alpha] : null;
}

function damaged(name: string, what: string): VigorlError {
  return new VigorlError("input", `${name}: the image is cut off or damaged (${what})`, {
    hint: "download or export it again",
  });
}

function unread(name: string, what: string): VigorlError {
  return new VigorlError("input", `${name}: BMP with ${what} is not read`, {
    hint: "save it as PNG",
  });
}
