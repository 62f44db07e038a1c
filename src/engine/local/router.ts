/**
 * Which worker takes a request. A session stays where its cache is; a prompt goes where the same one
 * was prefilled, unless that worker has much more to do than another; everything else goes to the
 * worker that has least to do. Where a request lands changes its speed only, never its bits.
 */
import type { Chunk } from "../types.ts";
import { contentKey } from "./sequence.ts";

/** Samples that a worker may be ahead of the least busy one and still get a prompt it knows. */
const SLACK = 8;
/** Prompts whose workers are remembered. */
const MAX_PROMPTS = 512;

export class Router {
  private readonly loads: () => number[];
  private readonly sessions = new Map<string, number>();
  /** Workers by prompt, least recently used first. */
  private readonly prompts = new Map<string, number[]>();

  /** @param loads says how many samples each worker is working on */
  constructor(loads: () => number[]) {
    this.loads = loads;
  }

  choose(prompt: readonly Chunk[], session: string | undefined): number {
    const loads = this.loads();
    if (loads.length === 1 && session === undefined) return 0;
    const held = session === undefined ? undefined : this.sessions.get(session);
    if (held !== undefined) return held;
    const key = contentKey(prompt);
    const known = this.prompts.get(key) ?? [];
    const leastBusy = leastOf(loads);
    let worker = leastBusy;
    if (known.length > 0) {
      const among = known[leastOf(known.map((one) => loads[one]))];
      if (loads[among] <= loads[leastBusy] + SLACK) worker = among;
    }
    this.prompts.delete(key);
    this.prompts.set(key, known.includes(worker) ? known : [...known, worker]);
    for (const oldest of this.prompts.keys()) {
      if (this.prompts.size <= MAX_PROMPTS) break;
      this.prompts.delete(oldest);
    }
    if (session !== undefined) this.sessions.set(session, worker);
    return worker;
  }

  /** Forgets a session and says which worker has it. */
  release(session: string): number | undefined {
    const worker = this.sessions.get(session);
    this.sessions.delete(session);
    return worker;
  }
}

/** Index of the smallest number, the first of several. */
function leastOf(loads: readonly number[]): number {
  let least = 0;
  for (const [i, load] of loads.entries()) if (load < loads[least]) least = i;
  return least;
}
