/**
 * Stop strings on text that grows token by token. A character may be spread over several tokens, so
 * bytes that do not yet make a character wait for the next token; only the tail of the text that a
 * stop string could still begin in is kept.
 */

/** Text of token ids, special tokens included; U+FFFD stands for bytes that make no character. */
export type Decode = (tokens: number[]) => string;

const UNFINISHED = "\uFFFD";
/** A UTF-8 character has at most four bytes; what is still broken after as many tokens stays so. */
const MAX_PENDING = 4;

/** Watches one sample for the first of its stop strings. */
export class StopMatcher {
  private readonly stops: readonly string[];
  private readonly decode: Decode;
  private readonly tailLength: number;
  private pending: number[] = [];
  private tail = "";

  constructor(stops: readonly string[], decode: Decode) {
    this.stops = stops.filter((stop) => stop !== "");
    this.decode = decode;
    this.tailLength = Math.max(0, ...this.stops.map((stop) => stop.length)) - 1;
  }

  /** Adds a token and says whether the text now contains a stop string. */
  push(token: number): boolean {
    if (this.stops.length === 0) return false;
    this.pending.push(token);
    const text = this.decode(this.pending);
    const unfinished = text.endsWith(UNFINISHED) && this.pending.length < MAX_PENDING;
    const seen = this.tail + text;
    if (this.stops.some((stop) => seen.includes(stop))) return true;
    if (unfinished) return false;
    this.pending = [];
    this.tail = this.tailLength > 0 ? seen.slice(-this.tailLength) : "";
    return false;
  }
}

/** Remembers the text of single tokens, which is nearly all that stop matching asks for. */
export function cachedDecode(decode: Decode): Decode {
  const single = new Map<number, string>();
  return (tokens) => {
    if (tokens.length !== 1) return decode(tokens);
    let text = single.get(tokens[0]);
    if (text === undefined) {
      text = decode(tokens);
      single.set(tokens[0], text);
    }
    return text;
  };
}
