/**
 * An answer as server-sent events. A client that goes away, or reads too little, stops the work behind
 * it; a fault in the middle is the last event.
 */
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { toApiError } from "./api-error.ts";
import { EventQueue, type QueueLimits } from "./event-queue.ts";
import { endConnection } from "./server.ts";

export interface EventOptions {
  readonly queue: QueueLimits;
  readonly onError: (error: unknown) => void;
}

/**
 * @param events writes all events; `alive` is written now and then while it does
 * @param done called at the end, whatever it is
 */
export function streamEvents(
  c: Context,
  { queue: limits, onError }: EventOptions,
  done: () => void,
  alive: () => object,
  events: (write: (event: object) => void, signal: AbortSignal) => Promise<void>,
): Response {
  const controller = new AbortController();
  const gone = () => controller.abort(new Error("the client went away"));
  const { signal } = c.req.raw;
  if (signal.aborted) gone();
  signal.addEventListener("abort", gone, { once: true });
  return streamSSE(c, async (stream) => {
    stream.onAbort(gone);
    const queue = new EventQueue(stream, limits, (reason) => {
      controller.abort(reason);
      stream.abort();
      endConnection(c);
    });
    const write = (event: object) => queue.push(JSON.stringify(event));
    const beat = setInterval(() => write(alive()), ALIVE_MS);
    try {
      await events(write, controller.signal);
      queue.push("[DONE]");
      await queue.drained();
    } catch (error) {
      if (controller.signal.aborted) return;
      const answer = toApiError(error);
      if (answer.status >= 500) onError(error);
      write(answer.body());
      await queue.drained().catch(() => undefined);
    } finally {
      clearInterval(beat);
      signal.removeEventListener("abort", gone);
      done();
    }
  });
}

/** How often clients and proxies are told that nobody is dead while a request waits. */
const ALIVE_MS = 15_000;
