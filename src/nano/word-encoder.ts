/**
 * Tokenises the nano world's texts fast: a text is cut into pre-tokens, and the ids of each are looked
 * up once. Equal to the tokenizer itself (tested); base training writes millions of words.
 */
import type { Tokenizer } from "../text/tokenizer.ts";
import { addedTokens, splitPattern } from "./tokenizer.ts";

export class WordEncoder {
  private readonly tokenizer: Tokenizer;
  private readonly known = new Map<string, readonly number[]>();

  constructor(tokenizer: Tokenizer) {
    this.tokenizer = tokenizer;
  }

  encode(text: string): number[] {
    const ids: number[] = [];
    for (const part of text.split(addedPattern)) {
      if (part === "") continue;
      const pieces = addedTokens.includes(part) ? [part] : (part.match(splitPattern) ?? []);
      for (const piece of pieces) ids.push(...this.lookUp(piece));
    }
    return ids;
  }

  private lookUp(piece: string): readonly number[] {
    const known = this.known.get(piece);
    if (known) return known;
    const ids = this.tokenizer.encode(piece);
    this.known.set(piece, ids);
    return ids;
  }
}

const addedPattern = new RegExp(
  `(${addedTokens.map((token) => token.replaceAll("|", String.raw`\|`)).join("|")})`,
);
