/**
 * Stop strings on text that grows token by token. Matching is on UTF-8 bytes, held as strings of one
 * character a byte: a character spread over several tokens needs no special case that way, and only
 * the tail that a stop string could still begin in is kept.
 */
import type { Tokenizer } from "../../text/tokenizer.ts";

/** The bytes of one token, one character a byte; empty for ids without a token. */
export type TokenBytes = (token: number) => string;

/** Watches one sample for the first of its stop strings. */
export class StopMatcher {
  private readonly stops: readonly string[];
  private readonly tokenBytes: TokenBytes;
  private readonly tailLength: number;
  private tail = "";

  constructor(stops: readonly string[], tokenBytes: TokenBytes) {
    this.stops = stops.filter((stop) => stop !== "").map(utf8);
    this.tokenBytes = tokenBytes;
    this.tailLength = Math.max(1, ...this.stops.map((stop) => stop.length)) - 1;
  }

  /** Adds a token and says whether the text now contains a stop string. */
  push(token: number): boolean {
    if (this.stops.length === 0) return false;
    const seen = this.tail + this.tokenBytes(token);
    for (const stop of this.stops) if (seen.includes(stop)) return true;
    this.tail = this.tailLength > 0 ? seen.slice(-this.tailLength) : "";
    return false;
  }
}

/** The bytes of a tokenizer's tokens, remembered. */
export function tokenBytes(tokenizer: Tokenizer): TokenBytes {
  const known: (string | undefined)[] = [];
  return (token) => {
    known[token] ??= tokenizer.hasId(token)
      ? Buffer.from(tokenizer.bytes(token)).toString("latin1")
      : "";
    return known[token];
  };
}

function utf8(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
