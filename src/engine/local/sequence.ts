/**
 * What stands in a KV cache and how it got there. Positions that were prefilled together and positions
 * that were decoded one by one agree only to rounding, so a history remembers which was which: played
 * again in the same pieces, a conversation that lost its slot comes back to the same bits.
 */
import type { Chunk } from "../types.ts";

/** One entry a position: the token id, or the hash of the image that stands there. */
export type Entry = number | string;

/** Positions that entered the cache in one prefill, or one after another as newest tokens. */
export type Segment =
  | { readonly kind: "prefill"; readonly chunks: readonly Chunk[] }
  | { readonly kind: "decode"; readonly tokens: number[] };

interface Piece {
  readonly segment: Segment;
  /** First position in the cache, and the M-RoPE position it stands at. */
  readonly start: number;
  readonly rope: number;
}

/** The content of one conversation's cache. */
export class History {
  private pieces: Piece[] = [];
  private readonly entries: Entry[] = [];
  /** M-RoPE position of the next text token. */
  rope = 0;

  /** Positions held. */
  get length(): number {
    return this.entries.length;
  }

  get segments(): Segment[] {
    return this.pieces.map((piece) => piece.segment);
  }

  /** Notes a prefill that left the M-RoPE position at `rope`. */
  addPrefill(chunks: readonly Chunk[], rope: number): void {
    this.pieces.push({
      segment: { kind: "prefill", chunks },
      start: this.length,
      rope: this.rope,
    });
    for (const entry of flatten(chunks)) this.entries.push(entry);
    this.rope = rope;
  }

  /** Notes one decoded token. */
  addToken(token: number): void {
    let last = this.pieces.at(-1)?.segment;
    if (last?.kind !== "decode") {
      last = { kind: "decode", tokens: [] };
      this.pieces.push({ segment: last, start: this.length, rope: this.rope });
    }
    last.tokens.push(token);
    this.entries.push(token);
    this.rope++;
  }

  /**
   * Shortens the history to what can serve a prompt and returns how many positions are left. At least
   * one position of the prompt stays to be prefilled. A prefill is kept whole or not at all.
   */
  keepPrefix(prompt: readonly Entry[]): number {
    const limit = Math.min(this.entries.length, prompt.length - 1);
    let common = 0;
    while (common < limit && this.entries[common] === prompt[common]) common++;
    while (this.entries.length > common) {
      const piece = this.pieces.at(-1)!;
      if (piece.segment.kind === "decode" && piece.start < common) {
        piece.segment.tokens.length = common - piece.start;
        this.entries.length = common;
        this.rope = piece.rope + common - piece.start;
        break;
      }
      this.pieces.pop();
      this.entries.length = piece.start;
      this.rope = piece.rope;
    }
    return this.entries.length;
  }

  clear(): void {
    this.pieces = [];
    this.entries.length = 0;
    this.rope = 0;
  }
}

export function flatten(chunks: readonly Chunk[]): Entry[] {
  const entries: Entry[] = [];
  for (const chunk of chunks) {
    if (chunk.type === "text") for (const token of chunk.tokens) entries.push(token);
    else for (let i = 0; i < chunk.image.numTokens; i++) entries.push(chunk.image.hash);
  }
  return entries;
}

/** The chunks from position `start` on, which is no position inside an image. */
export function chunksFrom(chunks: readonly Chunk[], start: number): Chunk[] {
  const rest: Chunk[] = [];
  let at = 0;
  for (const chunk of chunks) {
    const length = chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
    if (at >= start) rest.push(chunk);
    else if (at + length > start) {
      if (chunk.type === "image") throw new Error(`position ${start} lies inside an image`);
      rest.push({ type: "text", tokens: chunk.tokens.slice(start - at) });
    }
    at += length;
  }
  return rest;
}

/** Equal for chunk lists of equal content. */
export function contentKey(chunks: readonly Chunk[]): string {
  return chunks
    .map((chunk) => (chunk.type === "text" ? chunk.tokens.join() : chunk.image.hash))
    .join("|");
}
