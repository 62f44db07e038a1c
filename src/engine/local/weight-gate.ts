/**
 * The order between samples and calls that change the weights, over all workers: such a call waits
 * until the samples before it are done, and whatever comes after it waits for the call.
 */

interface Waiting {
  readonly changes: boolean;
  start(): void;
}

export class WeightGate {
  private readonly idle: () => boolean;
  private readonly waiting: Waiting[] = [];
  private changing = false;

  /** @param idle says whether no sample is being worked on; tell `pump` when that becomes true */
  constructor(idle: () => boolean) {
    this.idle = idle;
  }

  /** Runs `work` at once, or when it is its turn. An abort takes it out of the queue. */
  enter<T>(changes: boolean, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.waiting.length === 0 && this.isOpen(changes)) return this.run(changes, work);
    return new Promise<T>((resolve, reject) => {
      signal?.throwIfAborted();
      const abort = (): void => {
        this.waiting.splice(this.waiting.indexOf(item), 1);
        reject(signal?.reason);
        this.pump();
      };
      const item: Waiting = {
        changes,
        start: () => {
          signal?.removeEventListener("abort", abort);
          this.run(changes, work).then(resolve, reject);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.waiting.push(item);
    });
  }

  /** Lets in whoever may enter now. */
  pump(): void {
    for (;;) {
      const next = this.waiting[0];
      if (next === undefined || !this.isOpen(next.changes)) return;
      this.waiting.shift();
      next.start();
    }
  }

  private isOpen(changes: boolean): boolean {
    return !this.changing && (!changes || this.idle());
  }

  private async run<T>(changes: boolean, work: () => Promise<T>): Promise<T> {
    if (!changes) return work();
    this.changing = true;
    try {
      return await work();
    } finally {
      this.changing = false;
      this.pump();
    }
  }
}
