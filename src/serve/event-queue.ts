/**
 * Events on their way to one client. What it has not read yet waits here, together and up to a bound;
 * a client that leaves too much lying, or reads nothing for too long, is cut off.
 */
export interface EventSink {
  write(text: string): Promise<unknown>;
}

export interface QueueLimits {
  /** Characters that may wait. */
  readonly maxWaiting: number;
  /** Longest time that a client may take for what it was last sent. */
  readonly stallMs: number;
}

export class EventQueue {
  private readonly sink: EventSink;
  private readonly limits: QueueLimits;
  private readonly onStuck: (reason: Error) => void;
  private waiting: string[] = [];
  private numWaiting = 0;
  private pump: Promise<void> | undefined;
  private stuck: Error | undefined;
  private release: () => void = () => undefined;

  /** `onStuck` is told once, when nothing is written any more. */
  constructor(sink: EventSink, limits: QueueLimits, onStuck: (reason: Error) => void) {
    this.sink = sink;
    this.limits = limits;
    this.onStuck = onStuck;
  }

  push(data: string): void {
    if (this.stuck !== undefined) return;
    const event = `data: ${data}\n\n`;
    this.waiting.push(event);
    this.numWaiting += event.length;
    this.pump ??= this.writeAll();
    if (this.numWaiting > this.limits.maxWaiting) this.cut("leaves too much of it lying");
  }

  /** When all is written, or nothing will be any more. @throws Error where the client was cut off */
  async drained(): Promise<void> {
    await this.pump;
    if (this.stuck !== undefined) throw this.stuck;
  }

  private async writeAll(): Promise<void> {
    while (this.waiting.length > 0 && this.stuck === undefined) {
      const text = this.waiting.join("");
      this.waiting = [];
      this.numWaiting = 0;
      await this.written(text);
    }
    this.pump = undefined;
  }

  /** Resolves when the sink has taken a text, or the client is given up. */
  private written(text: string): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.cut("reads nothing"), this.limits.stallMs);
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      this.release = done;
      this.sink.write(text).then(done, done);
    });
  }

  private cut(what: string): void {
    if (this.stuck !== undefined) return;
    this.stuck = new Error(`the client asked for a stream and ${what}`);
    this.waiting = [];
    this.onStuck(this.stuck);
    this.release();
  }
}
