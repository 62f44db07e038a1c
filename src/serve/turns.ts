/**
 * Whose sample is next. The engine works through what it is given in order, so a request for 64 choices
 * would stand before everybody behind it. Here the next place goes to the request that has the fewest
 * samples at work, and among those to the one that has waited longest.
 */
import { setMaxListeners } from "node:events";

export class Turns {
  private readonly places: number;
  private readonly waiting: Waiting[] = [];
  private readonly atWork = new Map<object, number>();
  private numTaken = 0;

  /** @param places samples at work at a time */
  constructor(places: number) {
    this.places = places;
  }

  /**
   * Does `work` when it is the turn of `request`.
   * @throws what `work` throws, or the reason of `signal` while it waits
   */
  async take<T>(request: object, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.turn(request, signal);
    try {
      return await work();
    } finally {
      this.count(request, -1);
      this.callNext();
    }
  }

  private async turn(request: object, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.numTaken < this.places) return this.count(request, 1);
    // All samples of a request wait on one signal.
    setMaxListeners(0, signal);
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        this.waiting.splice(this.waiting.indexOf(one), 1);
        reject(signal.reason as Error);
      };
      const begin = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const one = { request, begin };
      this.waiting.push(one);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  private callNext(): void {
    if (this.waiting.length === 0 || this.numTaken >= this.places) return;
    const load = ({ request }: Waiting) => this.atWork.get(request) ?? 0;
    let next = 0;
    for (let i = 1; i < this.waiting.length; i++)
      if (load(this.waiting[i]) < load(this.waiting[next])) next = i;
    const [{ request, begin }] = this.waiting.splice(next, 1);
    this.count(request, 1);
    begin();
  }

  private count(request: object, change: 1 | -1): void {
    this.numTaken += change;
    const num = (this.atWork.get(request) ?? 0) + change;
    if (num === 0) this.atWork.delete(request);
    else this.atWork.set(request, num);
  }
}

interface Waiting {
  readonly request: object;
  readonly begin: () => void;
}
