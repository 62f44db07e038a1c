/**
 * A prompt as the cache sees it: one entry a position, and the places where it may be cut. Where a
 * position's keys and values depend on the tokens up to it alone, any cut will do (but none inside an
 * image). Where they also depend, in rounding, on what was computed with them, a prompt is cut into
 * pieces at places that its own content decides: prompts that begin alike are then cut alike.
 */
import type { Chunk } from "../types.ts";

/** One entry a position: the token id, or the hash of the image that stands there. */
export type Entry = number | string;

/** Positions `start` … `end` of a prompt, which are computed together. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  /** Every prompt that goes on after it has this piece. */
  readonly isWhole: boolean;
  readonly chunks: readonly Chunk[];
}

export class Prompt {
  readonly entries: readonly Entry[];
  private readonly chunks: readonly Chunk[];
  /** Ends of whole pieces, ascending; null where any cut will do. */
  private readonly ends: readonly number[] | null;

  /** @param pieceLength positions of a piece, at least; null where any cut will do */
  constructor(chunks: readonly Chunk[], pieceLength: number | null) {
    this.chunks = chunks;
    this.entries = flatten(chunks);
    this.ends = pieceLength === null ? null : pieceEnds(chunks, pieceLength);
  }

  get length(): number {
    return this.entries.length;
  }

  /** The last place up to `position` where the prompt may be cut; the end of a whole piece is one. */
  cutUpTo(position: number): number {
    if (this.ends === null) return positionOutsideImages(this.chunks, position);
    return this.ends.findLast((end) => end <= position) ?? 0;
  }

  /** The last place before its end where it may be cut. */
  get lastCut(): number {
    return this.cutUpTo(this.length - 1);
  }

  /**
   * What is to be computed after the first `start` positions, a place where it may be cut.
   * @param cuts more such places, where a piece is to end
   */
  pieces(start: number, cuts: readonly number[] = []): Piece[] {
    const all = this.ends === null ? cuts : [...new Set([...this.ends, ...cuts])];
    const ends = all.filter((end) => end > start && end < this.length).sort((a, b) => a - b);
    return [...ends, this.length].map((end, i) => {
      const from = i === 0 ? start : ends[i - 1];
      const isWhole = this.ends === null || this.ends.includes(end);
      return { start: from, end, isWhole, chunks: this.slice(from, end) };
    });
  }

  /** The chunks of positions `start` … `end`, neither of them inside an image. */
  slice(start: number, end: number): Chunk[] {
    const inside: Chunk[] = [];
    for (const { chunk, from, to } of placed(this.chunks)) {
      if (to <= start || from >= end) continue;
      if (chunk.type === "text") {
        const tokens = chunk.tokens.slice(Math.max(0, start - from), end - from);
        inside.push({ type: "text", tokens });
        continue;
      }
      if (from < start || to > end) throw new Error(`a cut at ${start} or ${end} lies in an image`);
      inside.push(chunk);
    }
    return inside;
  }
}

/** Equal for chunk lists of equal content. */
export function contentKey(chunks: readonly Chunk[]): string {
  return chunks
    .map((chunk) => (chunk.type === "text" ? chunk.tokens.join() : chunk.image.hash))
    .join("|");
}

/** Entries that two sequences begin with alike. */
export function commonPrefix(one: readonly Entry[], other: readonly Entry[]): number {
  const limit = Math.min(one.length, other.length);
  let common = 0;
  while (common < limit && one[common] === other[common]) common++;
  return common;
}

export function flatten(chunks: readonly Chunk[]): Entry[] {
  const entries: Entry[] = [];
  for (const chunk of chunks) {
    if (chunk.type === "text") for (const token of chunk.tokens) entries.push(token);
    else for (let i = 0; i < chunk.image.numTokens; i++) entries.push(chunk.image.hash);
  }
  return entries;
}

function* placed(chunks: readonly Chunk[]): Generator<{ chunk: Chunk; from: number; to: number }> {
  let from = 0;
  for (const chunk of chunks) {
    const to = from + (chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens);
    yield { chunk, from, to };
    from = to;
  }
}

function positionOutsideImages(chunks: readonly Chunk[], position: number): number {
  let from = 0;
  for (const chunk of chunks) {
    if (from >= position) break;
    const to = from + (chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens);
    if (chunk.type === "image" && position < to) return from;
    from = to;
  }
  return position;
}

/** A piece ends as soon as it is long enough; an image that stands there ends it. */
function pieceEnds(chunks: readonly Chunk[], pieceLength: number): number[] {
  const ends: number[] = [];
  let last = 0;
  for (const { chunk, to } of placed(chunks)) {
    while (chunk.type === "text" && to - last >= pieceLength) ends.push((last += pieceLength));
    if (chunk.type === "image" && to - last >= pieceLength) ends.push((last = to));
  }
  return ends;
}
