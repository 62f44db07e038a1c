/** A time limit on work that may not listen to it. */
import { setMaxListeners } from "node:events";
import { VigorlError } from "../core/errors.ts";

/**
 * Runs `work` with a signal of its own that aborts after `seconds` or with `outer`, and stops waiting
 * then. It aborts at the end too, for whatever `work` left running when it failed. Nothing stays
 * attached to `outer` afterwards.
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
