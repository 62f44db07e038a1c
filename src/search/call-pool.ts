/**
 * Calls to a sampler through one bounded pool: a time limit for each, further tries with growing
 * pauses for what may succeed yet, and an abort that frees the slot at once, even where the sampler
 * does not listen. A pool is a sampler itself, so whoever samples knows nothing of it.
 */
import { setMaxListeners } from "node:events";
import pRetry from "p-retry";
import { errno, VigorlError } from "../core/errors.ts";
import {
  numPositions,
  type Capabilities,
  type Chunk,
  type Sample,
  type SampleOptions,
  type SampleParams,
  type Sampler,
} from "../engine/types.ts";

export interface CallLimits {
  /** In flight at once. */
  readonly calls: number;
  readonly callTimeoutSeconds: number;
  /** Tries after the first. */
  readonly retries: number;
  /** Pause before the first of them; it doubles, up to a minute, and is stretched at random. */
  readonly retryDelaySeconds: number;
}

/** A sampler with at most `limits.calls` calls in flight. Closing it leaves the inner one open. */
export class CallPool implements Sampler {
  readonly capabilities: Capabilities;
  /** Tries that failed and were tried again. */
  numRetries = 0;

  private readonly inner: Sampler;
  private readonly limits: CallLimits;
  private readonly slots: Slots;

  constructor(inner: Sampler, limits: CallLimits) {
    this.inner = inner;
    this.limits = limits;
    this.slots = new Slots(limits.calls);
    this.capabilities = inner.capabilities;
  }

  /**
   * @throws VigorlError("io") after the last try timed out, what the sampler threw last, or the
   *   signal's reason.
   */
  sample(
    prompt: readonly Chunk[],
    params: SampleParams,
    options: SampleOptions = {},
  ): Promise<Sample> {
    const { retries, retryDelaySeconds } = this.limits;
    const { signal } = options;
    return pRetry(() => this.attempt(prompt, params, options), {
      retries,
      factor: 2,
      minTimeout: retryDelaySeconds * 1000,
      maxTimeout: Math.max(60, retryDelaySeconds) * 1000,
      randomize: true,
      shouldRetry: ({ error }) => signal?.aborted !== true && mayStillSucceed(error),
      onFailedAttempt: ({ retriesLeft }) => {
        if (retriesLeft > 0) this.numRetries++;
      },
      ...(signal === undefined ? {} : { signal }),
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private async attempt(
    prompt: readonly Chunk[],
    params: SampleParams,
    options: SampleOptions,
  ): Promise<Sample> {
    const free = await this.slots.take(options.signal);
    try {
      return await within(this.limits.callTimeoutSeconds, options.signal, (signal) =>
        this.inner.sample(prompt, params, { ...options, signal }),
      );
    } finally {
      free();
    }
  }
}

/** What one tree asked of a sampler. Failed tries are not counted, so that faults change nothing. */
export class Meter implements Sampler {
  readonly capabilities: Capabilities;
  numCalls = 0;
  numTokens = { prompt: 0, model: 0 };

  private readonly inner: Sampler;

  constructor(inner: Sampler) {
    this.inner = inner;
    this.capabilities = inner.capabilities;
  }

  async sample(
    prompt: readonly Chunk[],
    params: SampleParams,
    options?: SampleOptions,
  ): Promise<Sample> {
    const sample = await this.inner.sample(prompt, params, options);
    this.numCalls++;
    this.numTokens.prompt += numPositions(prompt);
    this.numTokens.model += sample.tokens.length;
    return sample;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Whether trying again makes sense: cut connections, busy servers and time-outs, not mistakes. */
export function mayStillSucceed(error: unknown): boolean {
  if (error instanceof VigorlError) return error.code === "io";
  if (!(error instanceof Error)) return false;
  return error.name === "TimeoutError" || (errno(error) ?? errno(error.cause)) !== undefined;
}

/**
 * Runs `work` with a signal of its own that aborts after `seconds` or with `outer`, and stops waiting
 * then. It aborts at the end too, for whatever `work` left running when it failed. Nothing stays attached to `outer` afterwards.
 * @throws VigorlError("io") when the time is up, or the reason of `outer`.
 */
export async function within<T>(
  seconds: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  outer?.throwIfAborted();
  const controller = new AbortController();
  const { signal } = controller;
  // Every call of a tree listens to both; they all leave when they are done.
  for (const heard of outer === undefined ? [signal] : [signal, outer]) setMaxListeners(0, heard);
  const onOuter = () => controller.abort(outer?.reason);
  outer?.addEventListener("abort", onOuter, { once: true });
  const timer = setTimeout(
    () => controller.abort(new VigorlError("io", `no answer within ${seconds} s`)),
    seconds * 1000,
  );
  try {
    return await new Promise<T>((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      work(signal).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", onOuter);
    controller.abort(OVER);
  }
}

/** Why work that goes on behind an error is told to stop. */
const OVER = new VigorlError("interrupted", "not needed any more");

/** Turns at a bounded number of things, first come first served; who stops waiting leaves the queue. */
class Slots {
  private free: number;
  private readonly waiting = new Set<() => void>();

  constructor(count: number) {
    this.free = count;
  }

  /** Waits for a slot; the function returned gives it back. @throws the signal's reason. */
  async take(signal: AbortSignal | undefined): Promise<() => void> {
    signal?.throwIfAborted();
    if (this.free > 0) this.free--;
    else await this.wait(signal);
    return () => this.give();
  }

  private wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.waiting.delete(enter);
        reject(signal?.reason as Error);
      };
      const enter = () => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      this.waiting.add(enter);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  private give(): void {
    const [next] = this.waiting;
    if (next === undefined) {
      this.free++;
      return;
    }
    this.waiting.delete(next);
    next();
  }
}
