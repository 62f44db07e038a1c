/**
 * The words of an evaluation's questions, to be looked up by those of a training set: equal but for case,
 * punctuation and blanks, or near. Near are texts whose sets of five neighbouring letters have a Jaccard
 * index of four fifths or more; MinHash in bands (Broder 1997) finds the candidates, and the sets decide.
 * Listed options are left out of the text.
 */
import { listedOptions } from "../benchmarks/choice.ts";
import type { TaskRecord } from "../../task/record.ts";

export interface WordsMatch {
  /** Which of the evaluation's texts. */
  readonly text: number;
  /** Jaccard index of the two texts' shingles; 1 where their words are equal. */
  readonly similarity: number;
}

/** A question's words: what it asks, in lower case, words alone. */
export function wordsOf({ question, facts }: Pick<TaskRecord, "question" | "facts">): string {
  const asked = typeof facts?.question === "string" ? facts.question : question;
  const { head, choices } = listedOptions(asked);
  const text = choices.length >= 2 && head !== "" ? head : asked;
  return text
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
}

export const NEAR_FROM = 0.8;
const LETTERS = 5;
const BANDS = 16;
const ROWS = 4;
/** More candidates than this are not compared; how often that was is told. */
const MOST_CANDIDATES = 2000;
/** Texts whose matches are kept for the next who asks the same. */
const MOST_KNOWN = 20_000;

export class WordsIndex {
  private readonly byWords = new Map<string, number>();
  private readonly shingles: Uint32Array[] = [];
  /** Most keys have one text. */
  private readonly bands = Array.from(
    { length: BANDS },
    () => new Map<number, number | number[]>(),
  );
  private readonly known = new Map<string, readonly WordsMatch[]>();
  /** Lookups whose candidates were too many to compare them all. */
  numCapped = 0;

  get size(): number {
    return this.shingles.length;
  }

  /** The number of a text: a new one, or that of one with the same words. */
  add(words: string): number {
    const known = this.byWords.get(words);
    if (known !== undefined) return known;
    const text = this.shingles.length;
    const own = shinglesOf(words);
    this.byWords.set(words, text);
    this.shingles.push(own);
    for (const [band, key] of bandKeys(own).entries()) {
      const bucket = this.bands[band].get(key);
      if (typeof bucket === "object") bucket.push(text);
      else this.bands[band].set(key, bucket === undefined ? text : [bucket, text]);
    }
    return text;
  }

  /** Texts that have these words, or nearly. Training questions of few words ask the same again and again. */
  find(words: string): readonly WordsMatch[] {
    const before = this.known.get(words);
    if (before !== undefined) return before;
    const found = this.compared(words);
    if (this.known.size < MOST_KNOWN) this.known.set(words, found);
    return found;
  }

  private compared(words: string): WordsMatch[] {
    const same = this.byWords.get(words);
    const own = shinglesOf(words);
    const candidates = new Set<number>();
    for (const [band, key] of bandKeys(own).entries())
      for (const text of [this.bands[band].get(key) ?? []].flat())
        if (candidates.size < MOST_CANDIDATES) candidates.add(text);
    if (candidates.size === MOST_CANDIDATES) this.numCapped++;
    const near = [...candidates].flatMap((text): WordsMatch[] => {
      if (text === same) return [];
      const similarity = jaccard(own, this.shingles[text]);
      return similarity >= NEAR_FROM ? [{ text, similarity }] : [];
    });
    return same === undefined ? near : [{ text: same, similarity: 1 }, ...near];
  }
}

/** Hashes of all runs of five letters, ascending, each once; of the whole where it is shorter. */
function shinglesOf(words: string): Uint32Array {
  const out = new Set<number>();
  const last = Math.max(0, words.length - LETTERS);
  for (let i = 0; i <= last; i++) out.add(hashOf(words.slice(i, i + LETTERS)));
  return Uint32Array.from(out).sort();
}

/** FNV-1a over UTF-16 units, mixed once more. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mixed(hash);
}

/** The finaliser of MurmurHash3. */
function mixed(value: number): number {
  let x = value;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** The least hash under each of BANDS × ROWS functions, those of a band put together. */
function bandKeys(shingles: Uint32Array): number[] {
  return Array.from({ length: BANDS }, (_, band) => {
    let key = band + 1;
    for (let row = 0; row < ROWS; row++) {
      const salt = Math.imul(band * ROWS + row + 1, 0x9e3779b1);
      let least = 0xffffffff;
      for (const shingle of shingles) least = Math.min(least, mixed(shingle ^ salt));
      key = mixed(Math.imul(key, 31) + least);
    }
    // As a signed number: those are held in place.
    return key | 0;
  });
}

function jaccard(a: Uint32Array, b: Uint32Array): number {
  let [i, j, both] = [0, 0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      both++;
      i++;
      j++;
    } else if (a[i] < b[j]) i++;
    else j++;
  }
  return both / (a.length + b.length - both);
}
