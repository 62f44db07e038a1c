/**
 * Which worker takes a request: the one that was given the longest beginning of its prompt before,
 * weighed against how much each has to do. Where a request lands changes its speed only, never its
 * bits, so what a worker has evicted since is not asked for.
 */
import type { Chunk } from "../types.ts";

/** Samples that a worker may be ahead of another and still get a prompt that it knows whole. */
const SLACK = 8;
/** Positions after which a beginning is remembered, besides the whole prompt. */
const STRIDE = 32;
/** Beginnings whose workers are remembered. */
const MAX_BEGINNINGS = 1 << 16;

export class Router {
  private readonly loads: () => number[];
  /** Workers by beginning, least recently used first. */
  private readonly known = new Map<number, number[]>();

  /** @param loads says how many samples each worker is working on */
  constructor(loads: () => number[]) {
    this.loads = loads;
  }

  choose(prompt: readonly Chunk[]): number {
    const loads = this.loads();
    if (loads.length === 1) return 0;
    const beginnings = beginningsOf(prompt);
    const total = beginnings.at(-1)?.length ?? 0;
    const held = loads.map(() => 0);
    for (const { key, length } of beginnings)
      for (const worker of this.known.get(key) ?? []) held[worker] = length / total;
    let best = 0;
    const cost = (worker: number): number => loads[worker] - SLACK * held[worker];
    for (let worker = 1; worker < loads.length; worker++)
      if (cost(worker) < cost(best) || (cost(worker) === cost(best) && held[worker] > held[best]))
        best = worker;
    this.remember(beginnings, best);
    return best;
  }

  private remember(beginnings: readonly Beginning[], worker: number): void {
    for (const { key } of beginnings) {
      const workers = this.known.get(key) ?? [];
      this.known.delete(key);
      this.known.set(key, workers.includes(worker) ? workers : [...workers, worker]);
    }
    for (const oldest of this.known.keys()) {
      if (this.known.size <= MAX_BEGINNINGS) return;
      this.known.delete(oldest);
    }
  }
}

interface Beginning {
  /** A hash: two contents of one key cost time and nothing else. */
  readonly key: number;
  readonly length: number;
}

/** The prompt up to every `STRIDE` positions of text, up to every image, and whole. */
function beginningsOf(prompt: readonly Chunk[]): Beginning[] {
  const found: Beginning[] = [];
  let key = 0;
  let length = 0;
  for (const chunk of prompt) {
    if (chunk.type === "image") {
      for (let i = 0; i < chunk.image.hash.length; i++)
        key = mixed(key, chunk.image.hash.charCodeAt(i));
      length += chunk.image.numTokens;
      found.push({ key, length });
      continue;
    }
    for (const token of chunk.tokens) {
      key = mixed(key, token);
      if (++length % STRIDE === 0) found.push({ key, length });
    }
  }
  if (found.at(-1)?.length !== length) found.push({ key, length });
  return found;
}

function mixed(key: number, value: number): number {
  const product = Math.imul(key ^ value, 0x9e3779b1);
  return product ^ (product >>> 15);
}
