/**
 * A tokenizer in a thread of its own, for texts that would keep everybody waiting: a long one takes
 * seconds. It is started with the first of them, and has one before it at a time.
 */
import { once } from "node:events";
import { parentPort, workerData, type Worker } from "node:worker_threads";
import { describeError, VigorlError } from "../core/errors.ts";
import { startWorker } from "../core/worker.ts";
import { loadTokenizer } from "./tokenizer.ts";

type Reply = { readonly ids: readonly number[] } | { readonly error: string };

export class FarEncoder {
  private readonly folder: string;
  private readonly limitMs: number;
  private thread: Worker | undefined;
  private turn: Promise<unknown> = Promise.resolve();

  /** @param folder of the tokenizer */
  constructor(folder: string, limitMs = 60_000) {
    this.folder = folder;
    this.limitMs = limitMs;
  }

  /** As `Tokenizer.encode`. @throws VigorlError("input") after a minute; the reason of `signal` */
  encode(text: string, signal: AbortSignal): Promise<readonly number[]> {
    const ids = this.turn.then(() => this.ask(text, signal));
    this.turn = ids.catch(() => undefined);
    return ids;
  }

  async close(): Promise<void> {
    await this.thread?.terminate();
  }

  private async ask(text: string, signal: AbortSignal): Promise<readonly number[]> {
    signal.throwIfAborted();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.limitMs)]);
    const thread = (this.thread ??= this.start());
    const exit = new AbortController();
    const onExit = () => exit.abort();
    thread.once("exit", onExit);
    thread.ref();
    try {
      const answer = once(thread, "message", { signal: AbortSignal.any([limit, exit.signal]) });
      thread.postMessage(text);
      const [reply] = (await answer) as [Reply];
      if ("ids" in reply) return reply.ids;
      throw new VigorlError("input", reply.error);
    } catch (error) {
      if (error instanceof VigorlError) throw error;
      this.thread = undefined;
      void thread.terminate();
      signal.throwIfAborted();
      const cause = error instanceof Error ? error : undefined;
      throw new VigorlError(
        "input",
        `a text of ${text.length} characters is not tokenised in time`,
        {
          hint: "send a shorter one",
          cause,
        },
      );
    } finally {
      thread.off("exit", onExit);
      thread.unref();
    }
  }

  private start(): Worker {
    const thread = startWorker("text/far-encoder", { farEncoder: this.folder });
    // Without a listener the thread's port is closed for good.
    thread.on("message", () => undefined);
    thread.on("error", () => undefined);
    thread.on("exit", () => {
      if (this.thread === thread) this.thread = undefined;
    });
    return thread;
  }
}

const given: unknown = workerData;
if (parentPort !== null && typeof given === "object" && given !== null && "farEncoder" in given) {
  const port = parentPort;
  const tokenizer = loadTokenizer(String(given.farEncoder));
  port.on("message", (text: string) => {
    void tokenizer
      .then((loaded): Reply => ({ ids: loaded.encode(text) }))
      .catch((error: unknown): Reply => ({ error: describeError(error) }))
      .then((reply) => port.postMessage(reply));
  });
}
