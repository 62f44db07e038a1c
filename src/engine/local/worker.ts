/**
 * The thread that owns the tensors. Messages are worked off in order; between any two of them the
 * scheduler takes a step. A call that changes the weights waits until the samples before it are done,
 * and what comes after it waits for the call.
 */
import { parentPort, workerData } from "node:worker_threads";
import { VigorlError } from "../../core/errors.ts";
import type { ModelImage } from "../../image/model-image.ts";
import type { Chunk, Datum } from "../types.ts";
import { openLocalModel, type LocalModel } from "./local-model.ts";
import {
  toWireError,
  type Call,
  type Calls,
  type FromWorker,
  type Method,
  type SampleRequest,
  type ToWorker,
  type WireChunk,
  type WireDatum,
  type WorkerStart,
} from "./protocol.ts";
import { Scheduler, type SampleTask } from "./scheduler.ts";

type InboxItem = { readonly kind: "sample"; readonly task: SampleTask } | ResolvedCall;
interface ResolvedCall {
  readonly kind: "call";
  readonly id: number;
  readonly method: Method;
  /** Works on images as they were known when the call came in. */
  readonly run: () => Promise<Calls[Method]["result"]>;
}

const changesWeights: ReadonlySet<Method> = new Set(["optimStep", "load", "close"]);

class EngineWorker {
  private readonly local: LocalModel;
  private readonly scheduler: Scheduler;
  private readonly images = new Map<string, ModelImage>();
  private readonly inbox: InboxItem[] = [];
  private working = false;

  constructor(local: LocalModel) {
    this.local = local;
    this.scheduler = new Scheduler(local.forSampling, {
      token: (id, token, logprob) => post({ kind: "token", id, token, logprob }),
      sampled: (id, sample) => post({ kind: "sampled", id, sample }),
      failed: (id, error) => post({ kind: "error", id, error: toWireError(error) }),
    });
  }

  receive(message: ToWorker): void {
    switch (message.kind) {
      case "image":
        this.images.set(message.image.hash, message.image);
        return;
      case "forget":
        this.images.delete(message.hash);
        return;
      case "release":
        this.scheduler.release(message.session);
        return;
      case "abort":
        this.abort(message.id);
        return;
      case "sample":
      case "call":
        if (message.kind === "call" && message.method === "close") this.dropAll();
        try {
          this.inbox.push(message.kind === "sample" ? this.task(message) : this.resolve(message));
        } catch (error) {
          post({ kind: "error", id: message.id, error: toWireError(error) });
        }
        this.wake();
    }
  }

  private wake(): void {
    if (this.working) return;
    this.working = true;
    // After all messages that have already arrived, so that a group is seen whole.
    setImmediate(() => void this.work());
  }

  private async work(): Promise<void> {
    try {
      while (this.inbox.length > 0 || !this.scheduler.idle) {
        await this.workInbox();
        this.scheduler.step();
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      post({ kind: "error", id: null, error: toWireError(error) });
    } finally {
      this.working = false;
    }
  }

  private async workInbox(): Promise<void> {
    for (;;) {
      const item = this.inbox[0];
      if (item === undefined) return;
      if (item.kind === "call" && changesWeights.has(item.method) && !this.scheduler.idle) return;
      this.inbox.shift();
      if (item.kind === "sample") this.scheduler.submit(item.task);
      else await this.answer(item);
    }
  }

  private async answer(call: ResolvedCall): Promise<void> {
    try {
      const value = await call.run();
      post({ kind: "result", id: call.id, value });
    } catch (error) {
      post({ kind: "error", id: call.id, error: toWireError(error) });
    }
  }

  private dropAll(): void {
    this.inbox.length = 0;
    this.scheduler.abortAll();
  }

  private abort(id: number): void {
    const at = this.inbox.findIndex((item) => item.kind === "sample" && item.task.id === id);
    if (at >= 0) this.inbox.splice(at, 1);
    else this.scheduler.abort(id);
  }

  private task({ prompt, ...request }: SampleRequest): InboxItem {
    return { kind: "sample", task: { ...request, prompt: this.chunks(prompt) } };
  }

  private resolve(call: Call): ResolvedCall {
    return { kind: "call", id: call.id, method: call.method, run: this.runner(call) };
  }

  private runner(call: Call): ResolvedCall["run"] {
    const { local, scheduler } = this;
    switch (call.method) {
      case "forward": {
        const [data, options] = call.args;
        const resolved = this.data(data);
        return async () => local.forward(resolved, options);
      }
      case "forwardBackward": {
        const [data, loss] = call.args;
        const resolved = this.data(data);
        return async () => local.forwardBackward(resolved, loss);
      }
      case "optimStep":
        return async () => {
          const result = local.optimStep(call.args[0]);
          scheduler.weightsChanged(result.weightsVersion);
          return result;
        };
      case "setReference":
        return async () => {
          local.setReference();
          return null;
        };
      case "save":
        return async () => {
          await local.save(...call.args);
          return null;
        };
      case "load":
        return async () => {
          scheduler.weightsChanged(await local.load(...call.args));
          return null;
        };
      case "facts":
        return async () => ({ ...local.facts(), ...scheduler.counts });
      case "close":
        return async () => {
          local.dispose();
          return null;
        };
    }
  }

  private data(wire: readonly WireDatum[]): Datum[] {
    return wire.map((datum) => ({ ...datum, chunks: this.chunks(datum.chunks) }));
  }

  private chunks(wire: readonly WireChunk[]): Chunk[] {
    return wire.map((chunk) => {
      if (chunk.type === "text") return chunk;
      const image = this.images.get(chunk.hash);
      if (image === undefined)
        throw new VigorlError("input", `image ${chunk.hash} was named before it was sent`);
      return { type: "image", image };
    });
  }
}

function post(message: FromWorker): void {
  parentPort!.postMessage(message);
}

async function start({ folder, options }: WorkerStart): Promise<void> {
  const port = parentPort!;
  // Messages wait in the port until the listener below is there.
  const local = await openLocalModel(folder, options);
  const worker = new EngineWorker(local);
  port.on("message", (message: ToWorker) => worker.receive(message));
  post({ kind: "ready", capabilities: local.capabilities });
}

start(workerData as WorkerStart).catch((error: unknown) =>
  post({ kind: "error", id: null, error: toWireError(error) }),
);
