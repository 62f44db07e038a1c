/**
 * The way of every request to a server: a line with a bounded number in flight, one clock that runs
 * from the request on (not while it waits in line) and is set back by every sign of life, and further
 * tries with growing pauses for what may pass. There is no other limit, clock or retry above it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pLimit, { type LimitFunction } from "p-limit";
import pRetry from "p-retry";
import type { VigorlError } from "../../core/errors.ts";
import { silence, type Fault } from "./faults.ts";
import type { CallLimits } from "./limits.ts";
import { orAborted, untilSilent, type Alive } from "./watch.ts";

/** What is asked, for messages. */
export interface Address {
  readonly url: string;
  readonly model: string;
}

/** Names a failure of a request to `url`; null for what is no failure of the server's. */
export type NameFault = (thrown: unknown, url: string, model: string) => Fault | null;

export class CallLine {
  private readonly limits: CallLimits;
  private readonly inFlight: LimitFunction;
  private readonly faultOf: NameFault;

  constructor(limits: CallLimits, faultOf: NameFault) {
    this.limits = limits;
    this.faultOf = faultOf;
    this.inFlight = pLimit(limits.concurrency);
  }

  /**
   * Runs a request until it succeeds, fails for good, or was tried often enough.
   * @throws VigorlError naming the address and the fix, or the signal's reason
   */
  run<T>(
    address: Address,
    work: (alive: Alive) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    signal?.throwIfAborted();
    const tries = pRetry(() => this.inFlight(() => this.attempt(address, work, signal)), {
      retries: this.limits.retries,
      factor: 2,
      minTimeout: this.limits.retryDelayMs,
      maxTimeout: Math.max(60_000, this.limits.retryDelayMs),
      randomize: true,
      shouldRetry: ({ error }) =>
        "code" in error && error.code === "io" && signal?.aborted !== true,
      onFailedAttempt: async ({ error, retriesLeft }) => {
        const waitMs = retryAfter.get(error as VigorlError) ?? 0;
        if (waitMs > 0 && retriesLeft > 0) await sleep(waitMs, undefined, { signal });
      },
      signal,
    });
    return orAborted(tries, signal);
  }

  /** One try, under the watch for silence; names what goes wrong with it. */
  private async attempt<T>(
    { url, model }: Address,
    work: (alive: Alive) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const { timeoutMs } = this.limits;
    try {
      return await untilSilent(timeoutMs, signal, () => silence(url, timeoutMs), work);
    } catch (thrown) {
      signal?.throwIfAborted();
      const fault = this.faultOf(thrown, url, model);
      if (fault === null) throw thrown;
      if (fault.retryAfterMs > 0) retryAfter.set(fault.error, fault.retryAfterMs);
      throw fault.error;
    }
  }
}

/** How long the server behind an error asked to wait. */
const retryAfter = new WeakMap<VigorlError, number>();
