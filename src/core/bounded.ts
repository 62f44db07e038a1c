/**
 * Many things at once, but only so many: the one loop of searches, rollouts, evaluations and reports
 * over asynchronous work. A failure is a failure: nothing new is begun, what is running is told to
 * stop, and the error is thrown once nothing runs any more, so that nobody writes behind the caller.
 */
import { setMaxListeners } from "node:events";

/**
 * Does `work` for every item, in their order, at most `atOnce` at a time; items are taken as there is
 * room for them. `halt` aborts with the first error, or with the reason of `signal`.
 * @throws the first error, or the signal's reason, when all that was begun has ended
 */
export async function forEachBounded<T>(
  items: Iterable<T> | AsyncIterable<T>,
  atOnce: number,
  signal: AbortSignal | undefined,
  work: (item: T, halt: AbortSignal, index: number) => Promise<void>,
): Promise<void> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  const halt = controller.signal;
  setMaxListeners(0, halt);
  let numRunning = 0;
  let wake = (): void => undefined;
  const room = async (most: number): Promise<void> => {
    while (numRunning > most) await new Promise<void>((resolve) => (wake = resolve));
  };
  const begin = async (item: T, index: number): Promise<void> => {
    numRunning++;
    try {
      await work(item, halt, index);
    } catch (error) {
      controller.abort(error);
    }
    numRunning--;
    wake();
  };
  const onAbort = (): void => controller.abort(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    let index = 0;
    for await (const item of items) {
      if (halt.aborted) break;
      void begin(item, index++);
      await room(atOnce - 1);
      if (halt.aborted) break;
    }
  } catch (error) {
    controller.abort(error); // of the items themselves
  } finally {
    await room(0);
    signal?.removeEventListener("abort", onAbort);
  }
  halt.throwIfAborted();
}

/** As `forEachBounded`, with what `work` gives, in the order of the items. */
export async function mapBounded<T, R>(
  items: readonly T[],
  atOnce: number,
  signal: AbortSignal | undefined,
  work: (item: T, halt: AbortSignal, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  await forEachBounded(items, atOnce, signal, async (item, halt, index) => {
    results[index] = await work(item, halt, index);
  });
  return results;
}
