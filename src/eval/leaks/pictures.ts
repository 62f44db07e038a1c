/**
 * The pictures of an evaluation, to be looked up by those of a training set: by the bytes of their files,
 * by their pixels, and near, where one was resized, encoded again or cut. A picture takes some 10 kB.
 */
import { stat } from "node:fs/promises";
import { VigorlError } from "../../core/errors.ts";
import { hashText } from "../../core/files.ts";
import { readRegular } from "../../core/regular-file.ts";
import { decodeImage, type RgbImage } from "../../image/decode.ts";
import {
  alignedCorrelation,
  hashWindows,
  SmallPicture,
  wholeWindow,
  type HashWindow,
} from "../../image/near-hash.ts";
import type { ImageSource } from "../../task/record.ts";
import { HashIndex } from "./hash-index.ts";

/** How two pictures are the same. "cut": one is a part of the other. */
export const pictureMatches = ["file", "pixels", "near", "cut"] as const;
export interface PictureMatch {
  /** Which of the evaluation's pictures. */
  readonly picture: number;
  readonly how: (typeof pictureMatches)[number];
  /** Correlation of grey levels; 1 for equal pixels. */
  readonly correlation: number;
}

/** Bits of 64 in which hashes of the same picture may differ, before the correlation decides. */
const MOST_BITS = 11;
/** From here on pictures are the same. */
export const SAME_FROM = 0.9;

/** A picture of a record, read as far as it is asked for. Throws VigorlError("input" | "io") where it cannot be. */
export class SourcePicture {
  private readonly source: ImageSource;
  private readonly name: string;
  private read: Promise<Uint8Array> | null = null;

  /** @param name how errors call it */
  constructor(source: ImageSource, name: string) {
    this.source = source;
    this.name = name;
  }

  /** Bytes of its file; null for one that is drawn. */
  async size(): Promise<number | null> {
    const { source } = this;
    if (source.kind === "render") return null;
    if (source.kind !== "path") return (await this.bytes()).length;
    const entry = await stat(source.path).catch((error: unknown) => {
      throw new VigorlError("input", `${this.name}: ${source.path}: cannot be read`, {
        cause: error,
      });
    });
    return entry.size;
  }

  /** SHA-256 of its file; null for one that is drawn. */
  async hash(): Promise<string | null> {
    return this.source.kind === "render" ? null : hashText(await this.bytes());
  }

  async pixels(): Promise<RgbImage> {
    if (this.source.kind === "render") return this.source.render();
    const { reading } = this.source;
    const options = { name: this.name, ...(reading === undefined ? {} : { reading }) };
    return decodeImage(await this.bytes(), options);
  }

  private bytes(): Promise<Uint8Array> {
    this.read ??= bytesOf(this.source);
    return this.read;
  }
}

const MAX_FILE_BYTES = 1 << 29;

async function bytesOf(source: ImageSource): Promise<Uint8Array> {
  switch (source.kind) {
    case "path":
      return readRegular(source.path, MAX_FILE_BYTES);
    case "bytes":
      return source.bytes;
    case "stored":
      return source.read();
    case "render":
      throw new Error(`${source.name} has no bytes`);
  }
}

/** Training pictures whose matches are kept for the next question about them. */
const MOST_KNOWN = 10_000;

/** SHA-256 of size and pixels. */
function hashOfPixels({ widthPx, heightPx, data }: RgbImage): string {
  return hashText(`${widthPx}x${heightPx} ${hashText(data)}`);
}

/** What is compared: bytes of files alone, or pixels, too. */
export const depths = ["files", "pixels"] as const;
export type Depth = (typeof depths)[number];

const NOTHING: readonly PictureMatch[] = [];

export class PictureIndex {
  private readonly depth: Depth;
  private readonly sizes = new Set<number>();
  private readonly byFile = new Map<string, number>();
  private readonly byPixels = new Map<string, number>();
  /** Grey levels; their sums are made again where they are needed, to save memory. */
  private readonly small: Uint8Array[] = [];
  private readonly known = new Map<string, readonly PictureMatch[]>();
  private numPictures = 0;
  private wholes: HashIndex | null = null;
  private windows: HashIndex | null = null;

  constructor(depth: Depth) {
    this.depth = depth;
  }

  /** Distinct pictures. */
  get size(): number {
    return this.numPictures;
  }

  /** The number of a picture: a new one, or that of one that is equal. Null for what cannot be compared. */
  async add(picture: SourcePicture): Promise<number | null> {
    const [size, file] = [await picture.size(), await picture.hash()];
    const known = file === null ? undefined : this.byFile.get(file);
    if (known !== undefined) return known;
    if (this.depth === "files" && file === null) return null;
    const number =
      this.depth === "files" ? this.numPictures++ : this.addPixels(await picture.pixels());
    if (size !== null) this.sizes.add(size);
    if (file !== null) this.byFile.set(file, number);
    return number;
  }

  private addPixels(pixels: RgbImage): number {
    const hash = hashOfPixels(pixels);
    const known = this.byPixels.get(hash);
    if (known !== undefined) return known;
    const number = this.numPictures++;
    this.byPixels.set(hash, number);
    this.small.push(SmallPicture.of(pixels).grey);
    return number;
  }

  /** All pictures that one shows, each once, as it matches best. Null for what cannot be compared. */
  async find(picture: SourcePicture): Promise<readonly PictureMatch[] | null> {
    if (this.depth === "pixels") return this.findPixels(picture);
    const size = await picture.size();
    if (size === null) return null;
    // A file of another length is another file.
    const number = this.sizes.has(size) ? this.byFile.get((await picture.hash()) ?? "") : undefined;
    return number === undefined ? NOTHING : [{ picture: number, how: "file", correlation: 1 }];
  }

  private async findPixels(picture: SourcePicture): Promise<readonly PictureMatch[]> {
    const file = await picture.hash();
    const before = file === null ? undefined : this.known.get(file);
    if (before !== undefined) return before;
    const pixels = await picture.pixels();
    const equal = [
      { picture: file === null ? undefined : this.byFile.get(file), how: "file" as const },
      { picture: this.byPixels.get(hashOfPixels(pixels)), how: "pixels" as const },
    ];
    const found = new Map<number, PictureMatch>();
    for (const { picture: number, how } of equal)
      if (number !== undefined && !found.has(number))
        found.set(number, { picture: number, how, correlation: 1 });
    for (const match of this.findNear(SmallPicture.of(pixels)))
      if (!found.has(match.picture)) found.set(match.picture, match);
    const matches = found.size === 0 ? NOTHING : [...found.values()];
    if (file === null) return matches;
    this.known.set(file, matches);
    for (const oldest of this.known.keys()) {
      if (this.known.size <= MOST_KNOWN) break;
      this.known.delete(oldest);
    }
    return matches;
  }

  /** The best window for each candidate decides. */
  private findNear(own: SmallPicture): PictureMatch[] {
    const { wholes, windows } = this.indexes();
    const best = new Map<number, { bits: number; mine: HashWindow; theirs: HashWindow }>();
    const offer = (picture: number, bits: number, mine: HashWindow, theirs: HashWindow) => {
      const before = best.get(picture);
      if (before === undefined || bits < before.bits) best.set(picture, { bits, mine, theirs });
    };
    windows.near(...own.hash(wholeWindow), (entry, bits) =>
      offer(
        Math.floor(entry / hashWindows.length),
        bits,
        wholeWindow,
        hashWindows[entry % hashWindows.length],
      ),
    );
    for (const mine of hashWindows.slice(1))
      wholes.near(...own.hash(mine), (picture, bits) => offer(picture, bits, mine, wholeWindow));
    return [...best].flatMap(([picture, { mine, theirs }]): PictureMatch[] => {
      const [whole, other, start] =
        mine === wholeWindow
          ? [own, new SmallPicture(this.small[picture]), theirs]
          : [new SmallPicture(this.small[picture]), own, mine];
      const found = alignedCorrelation(whole, other, start);
      if (found === null || found < SAME_FROM) return [];
      const isWhole = [mine, theirs].every(
        (window) => window === wholeWindow || window === hashWindows[0],
      );
      return [{ picture, how: isWhole ? "near" : "cut", correlation: found }];
    });
  }

  private indexes(): { wholes: HashIndex; windows: HashIndex } {
    if (this.wholes === null || this.windows === null) {
      this.wholes = new HashIndex(this.small.length, MOST_BITS);
      this.windows = new HashIndex(this.small.length * hashWindows.length, MOST_BITS);
      for (const grey of this.small) {
        const picture = new SmallPicture(grey);
        this.wholes.add(...picture.hash(wholeWindow));
        for (const window of hashWindows) this.windows.add(...picture.hash(window));
      }
    }
    return { wholes: this.wholes, windows: this.windows };
  }
}
