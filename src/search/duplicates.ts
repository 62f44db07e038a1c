/**
 * Exact and near duplicates among texts. Two texts are near when they share enough of their word
 * triples (Jaccard) and look at the same places. The comparison is exact, not sketched: only texts
 * that share one of their rarest triples can be near enough, and only those are compared.
 */
import type { RecordPlace } from "../task/pictures.ts";
import { isCovered } from "./places.ts";

export interface Comparable {
  readonly text: string;
  readonly places: readonly RecordPlace[];
}

export interface DuplicateRules {
  /** Share of common triples from which a text goes, above 0; 1 removes equal texts only. */
  readonly threshold: number;
  /** Points this near are one place. */
  readonly radiusPx: number;
}

/** For each item in order, whether it repeats an earlier one that stays. */
export function findDuplicates(
  items: readonly Comparable[],
  { threshold, radiusPx }: DuplicateRules,
): ("exact" | "near" | null)[] {
  const seen = new Set<string>();
  const index = new Map<string, number[]>();
  const triples: Set<string>[] = [];
  const counts = new Map<string, number>();
  for (const { text } of items) {
    const set = tripleSet(text);
    triples.push(set);
    for (const triple of set) counts.set(triple, (counts.get(triple) ?? 0) + 1);
  }
  return items.map(({ text, places }, i) => {
    const plain = plainText(text);
    if (seen.has(plain)) return "exact";
    if (threshold < 1) {
      const rarest = prefixOf(triples[i], counts, threshold);
      const candidates = new Set(rarest.flatMap((triple) => index.get(triple) ?? []));
      for (const other of candidates) {
        if (jaccard(triples[i], triples[other]) < threshold) continue;
        if (samePlaces(places, items[other].places, radiusPx)) return "near";
      }
      for (const triple of rarest) {
        const list = index.get(triple);
        if (list === undefined) index.set(triple, [i]);
        else list.push(i);
      }
    }
    seen.add(plain);
    return null;
  });
}

/** Shared share of two sets; 1 for two empty ones. */
export function jaccard(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  let shared = 0;
  for (const item of a) if (b.has(item)) shared++;
  const all = a.size + b.size - shared;
  return all === 0 ? 1 : shared / all;
}

/** Triples of neighbouring words; tags, tool calls, coordinates and punctuation are left out. */
export function tripleSet(text: string): Set<string> {
  const words = text
    .toLowerCase()
    .replaceAll(/<tool_call>.*?<\/tool_call>|<[^<>]*>|\([^()]*\d[^()]*\)/gs, " ")
    .match(/[\p{L}\p{N}]+/gu);
  if (words === null) return new Set([""]);
  if (words.length < 3) return new Set([words.join(" ")]);
  return new Set(words.slice(2).map((word, i) => `${words[i]} ${words[i + 1]} ${word}`));
}

/**
 * Two sets whose Jaccard similarity reaches t share at least one of the first ⌊(1 − t)·n⌋ + 1 items of
 * each in any common order; rare items first makes few candidates.
 */
function prefixOf(
  set: ReadonlySet<string>,
  counts: ReadonlyMap<string, number>,
  threshold: number,
): string[] {
  const order = [...set].sort(
    (a, b) => (counts.get(a) ?? 0) - (counts.get(b) ?? 0) || (a < b ? -1 : 1),
  );
  return order.slice(0, Math.floor((1 - threshold) * order.length + 1e-9) + 1);
}

function samePlaces(
  a: readonly RecordPlace[],
  b: readonly RecordPlace[],
  radiusPx: number,
): boolean {
  return a.length === b.length && a.every((place, i) => isCovered([place], [b[i]], radiusPx));
}

function plainText(text: string): string {
  return text.toLowerCase().replaceAll(/\s+/g, " ").trim();
}
