/**
 * The caller's end of one worker thread: starts it, matches answers to questions and knows how many
 * samples it still works on.
 */
import { setMaxListeners } from "node:events";
import type { Worker } from "node:worker_threads";
import { startWorker } from "../../core/worker.ts";
import type { Capabilities, Chunk, SampleOptions } from "../types.ts";
import { ImageLedger } from "./image-ledger.ts";
import {
  fromWireError,
  type FromWorker,
  type Share,
  type ToWorker,
  type WireChunk,
  type WorkerStart,
} from "./protocol.ts";

/** What a worker says when it has opened its model. */
export interface Ready {
  readonly capabilities: Capabilities | null;
  readonly share: Share | null;
}

export interface LinkEvents {
  /** The worker died, or could not open the model; everything that waited for it is rejected. */
  failed(error: Error): void;
  /** No sample is being worked on any more. */
  idle(): void;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly onToken?: SampleOptions["onToken"];
}

export class WorkerLink {
  readonly ready: Promise<Ready>;
  private readonly worker: Worker;
  private readonly events: LinkEvents;
  private readonly images: ImageLedger;
  private readonly pending = new Map<number, Pending>();
  /** Samples that the worker has not yet finished or dropped; aborted ones are no longer pending. */
  private readonly samples = new Set<number>();
  private nextId = 1;
  private failure: Error | null = null;
  private opening: Pending | null = null;

  constructor(start: WorkerStart, events: LinkEvents) {
    this.worker = startWorker("engine/local/worker", start);
    this.events = events;
    this.images = new ImageLedger((message) => this.post(message));
    this.ready = new Promise((resolve, reject) => {
      this.opening = { resolve: resolve as Pending["resolve"], reject };
    });
    this.worker.on("message", (message: FromWorker) => this.receive(message));
    this.worker.on("error", (error) => this.fail(error));
    this.worker.on("exit", (code) =>
      this.fail(new Error(`the engine's worker thread ended unexpectedly (exit code ${code})`)),
    );
  }

  /** Samples that the worker is working on. */
  get numSamples(): number {
    return this.samples.size;
  }

  /** Chunks as they cross; for a message that follows within `request`. */
  wire(chunks: readonly Chunk[]): WireChunk[] {
    return this.images.wire(chunks);
  }

  post(message: ToWorker): void {
    if (this.failure === null) this.worker.postMessage(message);
  }

  /** Sends a message with a fresh id and waits for its answer. While nothing waits, the process may end. */
  request<T>(
    message: (id: number) => ToWorker,
    signal?: AbortSignal,
    onToken?: SampleOptions["onToken"],
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.failure !== null) throw this.failure;
      const id = this.nextId++;
      const abort = (): void => {
        this.post({ kind: "abort", id });
        this.take(id)?.reject(signal?.reason);
      };
      const settled = (): void => signal?.removeEventListener("abort", abort);
      this.pending.set(id, {
        resolve: (value) => {
          settled();
          resolve(value as T);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
        onToken,
      });
      this.worker.ref();
      if (signal !== undefined) {
        // One signal for hundreds of episodes is no leak.
        setMaxListeners(0, signal);
        signal.addEventListener("abort", abort);
      }
      try {
        const sent = message(id);
        if (sent.kind === "sample") this.samples.add(id);
        this.post(sent);
      } catch (error) {
        this.samples.delete(id);
        this.take(id)?.reject(error);
      }
      this.images.trim();
    });
  }

  /** Rejects what is in flight with `reason`; the worker ends after the call it is working on. */
  async close(reason: Error): Promise<void> {
    if (this.failure !== null) return;
    const before = [...this.pending.keys()];
    const closed = this.request((id) => ({ kind: "call", id, method: "close", args: [] }));
    for (const id of before) this.take(id)?.reject(reason);
    try {
      await closed;
    } finally {
      this.stop(reason);
      await this.worker.terminate();
    }
  }

  /** Ends the worker and rejects everything that waits for it, now and later. */
  stop(error: Error): void {
    if (this.failure !== null) return;
    this.failure = error;
    this.opening?.reject(error);
    this.opening = null;
    for (const id of this.pending.keys()) this.take(id)?.reject(error);
    this.samples.clear();
    this.worker.unref();
    void this.worker.terminate();
  }

  private receive(message: FromWorker): void {
    switch (message.kind) {
      case "ready":
        this.opening?.resolve(message);
        this.opening = null;
        this.worker.unref();
        break;
      case "result":
        this.take(message.id)?.resolve(message.value);
        break;
      case "token":
        this.tell(message.id, message.token, message.logprob);
        break;
      case "sampled":
        this.take(message.id)?.resolve(message.sample);
        this.finished(message.id);
        break;
      case "aborted":
        this.finished(message.id);
        break;
      case "error":
        if (message.id === null) this.fail(fromWireError(message.error));
        else {
          this.take(message.id)?.reject(fromWireError(message.error));
          this.finished(message.id);
        }
    }
  }

  /** A listener that throws ends its own sample, not the process. */
  private tell(id: number, token: number, logprob: number): void {
    try {
      this.pending.get(id)?.onToken?.(token, logprob);
    } catch (error) {
      this.post({ kind: "abort", id });
      this.take(id)?.reject(error);
    }
  }

  private finished(id: number): void {
    if (this.samples.delete(id) && this.samples.size === 0) this.events.idle();
  }

  private take(id: number): Pending | undefined {
    const pending = this.pending.get(id);
    this.pending.delete(id);
    if (this.pending.size === 0 && this.opening === null) this.worker.unref();
    return pending;
  }

  private fail(error: Error): void {
    if (this.failure !== null) return;
    this.stop(error);
    this.events.failed(error);
  }
}
