/**
 * Hashes of 64 bits within so many bits of another, by multi-index hashing (Norouzi et al., "Fast Search
 * in Hamming Space with Multi-Index Hashing", 2012): of four parts of 16 bits at least one differs in at
 * most a quarter of the bits, so only entries whose part is that near are looked at.
 */
import { bitsApart } from "../../image/near-hash.ts";

export class HashIndex {
  private readonly high: Uint32Array;
  private readonly low: Uint32Array;
  private size = 0;
  /** For each part, where the entries of each of its values begin, and the entries in that order. */
  private parts: { starts: Uint32Array; entries: Uint32Array }[] | null = null;
  private readonly probes: readonly number[];
  private readonly most: number;

  /** @param most bits that may differ */
  constructor(capacity: number, most: number) {
    this.high = new Uint32Array(capacity);
    this.low = new Uint32Array(capacity);
    this.most = most;
    this.probes = masksUpTo(Math.floor(most / 4));
  }

  /** Entries are numbered in the order in which they are added. */
  add(high: number, low: number): void {
    this.high[this.size] = high;
    this.low[this.size] = low;
    this.size++;
    this.parts = null;
  }

  /** Calls with each entry that is near enough, once or several times. */
  near(high: number, low: number, found: (entry: number, bits: number) => void): void {
    this.parts ??= [0, 1, 2, 3].map((part) => this.sorted(part));
    for (const [part, { starts, entries }] of this.parts.entries()) {
      const value = partOf(high, low, part);
      for (const mask of this.probes) {
        const at = value ^ mask;
        for (let i = starts[at]; i < starts[at + 1]; i++) {
          const entry = entries[i];
          const bits = bitsApart(this.high[entry], high) + bitsApart(this.low[entry], low);
          if (bits <= this.most) found(entry, bits);
        }
      }
    }
  }

  private sorted(part: number): { starts: Uint32Array; entries: Uint32Array } {
    const starts = new Uint32Array(65_537);
    for (let i = 0; i < this.size; i++) starts[partOf(this.high[i], this.low[i], part) + 1]++;
    for (let i = 0; i < 65_536; i++) starts[i + 1] += starts[i];
    const next = starts.slice();
    const entries = new Uint32Array(this.size);
    for (let i = 0; i < this.size; i++)
      entries[next[partOf(this.high[i], this.low[i], part)]++] = i;
    return { starts, entries };
  }
}

function partOf(high: number, low: number, part: number): number {
  const half = part < 2 ? high : low;
  return (part & 1) === 0 ? half >>> 16 : half & 0xffff;
}

/** All masks of 16 bits with at most so many set. */
function masksUpTo(most: number): number[] {
  const masks: number[] = [];
  for (let mask = 0; mask < 65_536; mask++) if (bitsApart(mask, 0) <= most) masks.push(mask);
  return masks;
}
