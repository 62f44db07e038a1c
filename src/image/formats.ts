/**
 * What kind of picture bytes are, by their first bytes and never by what somebody calls them. It is
 * asked before any decoder sees them: formats that are programs (SVG) or that nobody needs stay outside.
 */

export type ImageFormat = "PNG" | "JPEG" | "WebP" | "GIF" | "TIFF" | "AVIF" | "BMP";

/** What files of data sets may be. */
export const fileFormats: readonly ImageFormat[] = [
  ...(["PNG", "JPEG", "WebP", "GIF", "TIFF", "AVIF", "BMP"] as const),
];
/** What every client of the protocol sends. */
export const webFormats: readonly ImageFormat[] = ["PNG", "JPEG", "WebP", "GIF"];

/** The format of `bytes`; where it is none of ours, its name, or null for bytes that nobody knows. */
export function formatOf(bytes: Uint8Array): ImageFormat | (string & {}) | null {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1024));
  const text = head.toString("latin1");
  const magic = MAGIC.find(([start]) => text.startsWith(start));
  if (magic !== undefined) return magic[1];
  const known = PATTERNS.find(([pattern]) => pattern.test(text));
  return known?.[1] ?? null;
}

const MAGIC: readonly (readonly [string, string])[] = [
  ["\x89PNG\r\n\x1a\n", "PNG"],
  ["\xff\xd8\xff", "JPEG"],
  ["GIF87a", "GIF"],
  ["GIF89a", "GIF"],
  ["II*\0", "TIFF"],
  ["MM\0*", "TIFF"],
  ["II+\0", "TIFF"],
  ["MM\0+", "TIFF"],
  ["\0\0\x01\0", "ICO"],
  ["\0\0\x02\0", "CUR"],
  ["8BPS", "PSD"],
  ["%PDF-", "PDF"],
  ["\xff\x0a", "JPEG XL"],
  ["\0\0\0\x0cJXL ", "JPEG XL"],
  ["\0\0\0\x0cjP  ", "JPEG 2000"],
  ["\x1f\x8b", "gzip"],
];

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/^RIFF[^]{4}WEBPVP8[ LX]/, "WebP"],
  [/^[^]{4}ftyp(?:avif|avis|(?:mif1|miaf)(?:[^]{4})*?avif)/, "AVIF"],
  [/^[^]{4}ftyp(?:hei|hev|mif1|msf1)/, "HEIC"],
  [/^BM[^]{12}/, "BMP"],
  [/^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^]*|<!--[^]*|<!DOCTYPE svg[^]*)?<svg[\s>]/i, "SVG"],
  [/^(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|\?xml)/i, "HTML or XML"],
];
