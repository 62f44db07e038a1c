/**
 * The caller's side of the local engine: every call becomes a message to the worker thread that owns
 * the tensors, so the event loop here stays free. Pixels cross once per image; after that its hash
 * stands for it. Nothing here knows about models.
 */
import { setMaxListeners } from "node:events";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { VigorlError } from "../../core/errors.ts";
import type {
  Capabilities,
  Chunk,
  Datum,
  DatumOutput,
  ForwardOptions,
  Learner,
  Loss,
  OptimOutput,
  OptimParams,
  Sample,
  SampleOptions,
  SampleParams,
  StepOutput,
} from "../types.ts";
import { ImageLedger } from "./image-ledger.ts";
import {
  fromWireError,
  type Calls,
  type EngineFacts,
  type FromWorker,
  type LocalOptions,
  type Method,
  type ToWorker,
  type WireDatum,
  type WorkerStart,
} from "./protocol.ts";

/** A learner on this machine, which can also say what it has done. */
export interface LocalEngine extends Learner {
  facts(): Promise<EngineFacts>;
}

/**
 * Opens a Hugging Face model folder in a worker thread of its own. Close it when done.
 * @throws VigorlError "input" or "missing" for a folder or a library that cannot be used
 */
export async function openLocalEngine(
  folder: string,
  options: LocalOptions = {},
): Promise<LocalEngine> {
  const start: WorkerStart = { folder, options };
  const client = new Client(startWorker(start));
  const capabilities = await client.ready;
  return new WorkerEngine(client, capabilities);
}

class WorkerEngine implements LocalEngine {
  readonly capabilities: Capabilities;
  private readonly client: Client;
  private readonly images: ImageLedger;

  constructor(client: Client, capabilities: Capabilities) {
    this.client = client;
    this.capabilities = capabilities;
    this.images = new ImageLedger((message) => client.post(message));
  }

  sample(
    prompt: readonly Chunk[],
    params: SampleParams,
    options: SampleOptions = {},
  ): Promise<Sample> {
    const { session, signal, onToken } = options;
    const tellsTokens = onToken !== undefined;
    const answer = this.client.request<Sample>(
      (id) => ({
        kind: "sample",
        id,
        prompt: this.images.wire(prompt),
        params,
        session,
        tellsTokens,
      }),
      signal,
      onToken,
    );
    this.images.trim();
    return answer;
  }

  release(session: string): void {
    this.client.post({ kind: "release", session });
  }

  forward(data: readonly Datum[], options: ForwardOptions = {}): Promise<DatumOutput[]> {
    return this.call("forward", () => [this.wire(data), options]);
  }

  forwardBackward(data: readonly Datum[], loss: Loss): Promise<StepOutput> {
    return this.call("forwardBackward", () => [this.wire(data), loss]);
  }

  optimStep(params: OptimParams): Promise<OptimOutput> {
    return this.call("optimStep", () => [params]);
  }

  async setReference(): Promise<void> {
    await this.call("setReference", () => []);
  }

  async save(folder: string, { optimizer = false } = {}): Promise<void> {
    await this.call("save", () => [folder, optimizer]);
  }

  async load(folder: string, { optimizer = false } = {}): Promise<void> {
    await this.call("load", () => [folder, optimizer]);
  }

  facts(): Promise<EngineFacts> {
    return this.call("facts", () => []);
  }

  close(): Promise<void> {
    return this.client.close();
  }

  private call<M extends Method>(
    method: M,
    args: () => Calls[M]["args"],
  ): Promise<Calls[M]["result"]> {
    const answer = this.client.request<Calls[M]["result"]>(
      (id) => ({ kind: "call", id, method, args: args() }) as ToWorker,
    );
    this.images.trim();
    return answer;
  }

  private wire(data: readonly Datum[]): WireDatum[] {
    return data.map((datum) => ({ ...datum, chunks: this.images.wire(datum.chunks) }));
  }
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly onToken?: SampleOptions["onToken"];
}

/** Matches answers to questions. A worker that dies rejects everything that waits for it. */
class Client {
  readonly ready: Promise<Capabilities>;
  private readonly worker: Worker;
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;
  private failure: Error | null = null;
  private opening: Pending | null = null;

  constructor(worker: Worker) {
    this.worker = worker;
    this.ready = new Promise((resolve, reject) => {
      this.opening = { resolve: resolve as Pending["resolve"], reject };
    });
    worker.on("message", (message: FromWorker) => this.receive(message));
    worker.on("error", (error) => this.fail(error));
    worker.on("exit", (code) =>
      this.fail(new Error(`the engine's worker thread ended unexpectedly (exit code ${code})`)),
    );
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
        this.post(message(id));
      } catch (error) {
        this.take(id)?.reject(error);
      }
    });
  }

  /** Rejects what is in flight; the worker ends after the call it is working on. */
  async close(): Promise<void> {
    if (this.failure !== null) return;
    const before = [...this.pending.keys()];
    const closed = this.request((id) => ({ kind: "call", id, method: "close", args: [] }));
    const reason = new VigorlError("interrupted", "the engine was closed");
    for (const id of before) this.take(id)?.reject(reason);
    await closed;
    this.fail(reason);
    await this.worker.terminate();
  }

  private receive(message: FromWorker): void {
    switch (message.kind) {
      case "ready":
        this.opening?.resolve(message.capabilities);
        this.opening = null;
        this.worker.unref();
        break;
      case "result":
        this.take(message.id)?.resolve(message.value);
        break;
      case "token":
        this.pending.get(message.id)?.onToken?.(message.token, message.logprob);
        break;
      case "sampled":
        this.take(message.id)?.resolve(message.sample);
        break;
      case "error":
        if (message.id === null) this.fail(fromWireError(message.error));
        else this.take(message.id)?.reject(fromWireError(message.error));
    }
  }

  private take(id: number): Pending | undefined {
    const pending = this.pending.get(id);
    this.pending.delete(id);
    if (this.pending.size === 0 && this.opening === null) this.worker.unref();
    return pending;
  }

  private fail(error: Error): void {
    if (this.failure !== null) return;
    this.failure = error;
    this.opening?.reject(error);
    this.opening = null;
    for (const id of this.pending.keys()) this.take(id)?.reject(error);
    this.worker.unref();
  }
}

/**
 * Starts the worker beside this file: JavaScript in a build; in a checkout TypeScript, for which the
 * thread first registers the loader, whichever tool loaded this file.
 */
function startWorker(start: WorkerStart): Worker {
  if (!import.meta.url.endsWith(".ts"))
    return new Worker(new URL("./worker.js", import.meta.url), { workerData: start });
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx"));
  const loader = new URL("./esm/api/index.mjs", tsx).href;
  const file = new URL("./worker.ts", import.meta.url).href;
  const code = `import("${loader}").then(({ register }) => { register(); return import("${file}"); })`;
  return new Worker(code, { eval: true, workerData: start, execArgv: [] });
}
