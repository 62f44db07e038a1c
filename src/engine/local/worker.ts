/**
 * A thread that owns tensors: the one that learns and samples, or one that only samples, on weights
 * that the former owns. Messages are worked off in order; between any two of them the scheduler takes
 * a step. That nobody samples while weights change is the client's care.
 */
import { parentPort, workerData } from "node:worker_threads";
import { VigorlError } from "../../core/errors.ts";
import type { ModelImage } from "../../image/model-image.ts";
import type { Chunk, Datum } from "../types.ts";
import { openLocalModel, type LocalModel } from "./local-model.ts";
import { liveTensors } from "../../torch/scope.ts";
import {
  toWireError,
  type Call,
  type Calls,
  type EngineFacts,
  type FromWorker,
  type Method,
  type SampleRequest,
  type ToWorker,
  type WireChunk,
  type WireDatum,
  type WorkerStart,
} from "./protocol.ts";
import { openShared, useThreads, type SamplingModel } from "./sampling.ts";
import { Scheduler, type SampleTask } from "./scheduler.ts";

type InboxItem = { readonly kind: "sample"; readonly task: SampleTask } | ResolvedCall;
interface ResolvedCall {
  readonly kind: "call";
  readonly id: number;
  readonly method: Method;
  /** Works on images as they were known when the call came in. */
  readonly run: () => Promise<Calls[Method]["result"]>;
}

class EngineWorker {
  private readonly sampling: SamplingModel;
  /** Null in workers that only sample. */
  private readonly learner: LocalModel | null;
  private readonly scheduler: Scheduler;
  private readonly images = new Map<string, ModelImage>();
  private readonly inbox: InboxItem[] = [];
  private working = false;

  constructor(sampling: SamplingModel, learner: LocalModel | null) {
    this.sampling = sampling;
    this.learner = learner;
    this.scheduler = new Scheduler(sampling, {
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
      case "abort":
        this.abort(message.id);
        return;
      case "weights":
        if (message.tower) this.sampling.features.clear();
        this.scheduler.weightsChanged(message.version);
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
        useThreads(this.sampling.samplingThreads);
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
      this.inbox.shift();
      if (item.kind === "sample") this.scheduler.submit(item.task);
      else await this.answer(item);
    }
  }

  private async answer(call: ResolvedCall): Promise<void> {
    try {
      useThreads(this.sampling.threads);
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
    post({ kind: "aborted", id });
  }

  private task({ prompt, ...request }: SampleRequest): InboxItem {
    return { kind: "sample", task: { ...request, prompt: this.chunks(prompt) } };
  }

  private resolve(call: Call): ResolvedCall {
    return { kind: "call", id: call.id, method: call.method, run: this.runner(call) };
  }

  private runner(call: Call): ResolvedCall["run"] {
    const { learner, scheduler } = this;
    if (call.method === "facts") return async () => this.facts();
    if (call.method === "close") return async () => this.dispose();
    if (learner === null) throw new Error(`${call.method}: this worker only samples`);
    switch (call.method) {
      case "forward": {
        const [data, options] = call.args;
        const resolved = this.data(data);
        return async () => learner.forward(resolved, options);
      }
      case "forwardBackward": {
        const [data, loss] = call.args;
        const resolved = this.data(data);
        return async () => learner.forwardBackward(resolved, loss);
      }
      case "optimStep":
        return async () => {
          const result = learner.optimStep(call.args[0]);
          scheduler.weightsChanged(result.weightsVersion);
          return result;
        };
      case "setReference":
        return async () => {
          learner.setReference();
          return null;
        };
      case "save":
        return async () => {
          await learner.save(...call.args);
          return null;
        };
      case "load":
        return async () => {
          const version = await learner.load(...call.args);
          scheduler.weightsChanged(version);
          return version;
        };
    }
  }

  private facts(): EngineFacts {
    return {
      liveTensors: liveTensors(),
      weightsVersion: this.scheduler.weightsVersion,
      visionRuns: this.sampling.features.runs,
      ...this.scheduler.counts,
    };
  }

  private dispose(): null {
    if (this.learner !== null) this.learner.dispose();
    else {
      this.sampling.features.clear();
      this.sampling.decoder.dispose();
      this.sampling.model.dispose();
    }
    return null;
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

async function start({ folder, options, share }: WorkerStart): Promise<void> {
  const port = parentPort!;
  // Messages wait in the port until the listener below is there.
  const learner = share === null ? await openLocalModel(folder, options) : null;
  const sampling = learner?.forSampling ?? (await openShared(folder, share!, options));
  const worker = new EngineWorker(sampling, learner);
  port.on("message", (message: ToWorker) => worker.receive(message));
  const capabilities = learner?.capabilities ?? null;
  post({ kind: "ready", capabilities, share: learner?.share() ?? null });
}

start(workerData as WorkerStart).catch((error: unknown) =>
  post({ kind: "error", id: null, error: toWireError(error) }),
);
