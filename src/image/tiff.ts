/**
 * What a TIFF says of its first image that its decoder keeps to itself: whether it stores luminance and
 * chroma, which then come out as if they were red, green and blue.
 */
import { VigorlError } from "../core/errors.ts";

const photometric = 262;
const compression = 259;
const subsampling = 530;
const ycbcr = 6;
const jpeg = 7;

/**
 * Whether the decoder gives Y, Cb, Cr for this TIFF.
 * @throws VigorlError("input") where chroma is stored at another resolution, outside of JPEG
 */
export function holdsYcbcr(bytes: Uint8Array, name: string): boolean {
  const tags = shortTags(bytes, [photometric, compression, subsampling]);
  if (tags.get(photometric)?.[0] !== ycbcr || tags.get(compression)?.[0] === jpeg) return false;
  const [x = 2, y = 2] = tags.get(subsampling) ?? [];
  if (x === 1 && y === 1) return true;
  throw new VigorlError("input", `${name}: TIFF with subsampled chroma (${x}×${y}) is not read`, {
    hint: "save it as RGB, PNG or JPEG",
  });
}

/** The values of tags of 16-bit numbers in the first directory; none where the file is too odd to say. */
function shortTags(bytes: Uint8Array, wanted: readonly number[]): Map<number, number[]> {
  const found = new Map<number, number[]>();
  if (bytes.length < 16) return found;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const little = bytes[0] === 0x49;
  const isBig = view.getUint16(2, little) === 43;
  const long = (at: number) =>
    isBig ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little);
  const start = long(isBig ? 8 : 4);
  const [countBytes, entryBytes] = isBig ? [8, 20] : [2, 12];
  if (start + countBytes > bytes.length) return found;
  const said = isBig ? long(start) : view.getUint16(start, little);
  const room = Math.floor((bytes.length - start - countBytes) / entryBytes);
  for (let i = 0; i < Math.min(said, room, maxEntries); i++) {
    const at = start + countBytes + i * entryBytes;
    const tag = view.getUint16(at, little);
    const numValues = long(at + 4);
    if (!wanted.includes(tag) || view.getUint16(at + 2, little) !== short) continue;
    // One or two of them stand in the entry itself.
    const value = at + entryBytes - (isBig ? 8 : 4);
    const count = Math.min(numValues, 2);
    found.set(
      tag,
      Array.from({ length: count }, (_, k) => view.getUint16(value + 2 * k, little)),
    );
  }
  return found;
}

const short = 3;
const maxEntries = 4096;
