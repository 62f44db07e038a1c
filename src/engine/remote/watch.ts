/** Watches work that should give signs of life: silence aborts it, and so does its caller. */

export interface Alive {
  /** Aborts on silence and with the caller's signal. */
  readonly signal: AbortSignal;
  /** To be called at every sign of life. */
  readonly onEvent: () => void;
}

/**
 * Runs `work` until it ends or is silent for `timeoutMs`. Nothing stays attached to `outer`.
 * @throws what `onSilence` makes, the reason of `outer`, or what `work` throws.
 */
export async function untilSilent<T>(
  timeoutMs: number,
  outer: AbortSignal | undefined,
  onSilence: () => Error,
  work: (alive: Alive) => Promise<T>,
): Promise<T> {
  outer?.throwIfAborted();
  const controller = new AbortController();
  const onOuter = () => controller.abort(outer?.reason);
  outer?.addEventListener("abort", onOuter, { once: true });
  const timer = setTimeout(() => controller.abort(onSilence()), timeoutMs);
  try {
    return await new Promise<T>((resolve, reject) => {
      const { signal } = controller;
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      work({ signal, onEvent: () => timer.refresh() }).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", onOuter);
  }
}

/** `work`, or the reason of `signal` as soon as it aborts, whatever the work does about that. */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    const settled = () => signal.removeEventListener("abort", onAbort);
    void work.then(resolve, reject).finally(settled);
  });
}
