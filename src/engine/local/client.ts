/**
 * The caller's side of the local engine: every call becomes a message to a worker thread that owns
 * tensors, so the event loop here stays free. The first worker learns and samples; others, where there
 * are any, sample on the first one's weights, in the same memory. Nothing here knows about models.
 */
import { VigorlError } from "../../core/errors.ts";
import { prepareAddon } from "../../torch/addon.ts";
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
  Saved,
  StepOutput,
} from "../types.ts";
import type {
  Calls,
  EngineFacts,
  LocalOptions,
  Method,
  ToWorker,
  WireDatum,
  WorkerStart,
} from "./protocol.ts";
import { Router } from "./router.ts";
import { WeightGate } from "./weight-gate.ts";
import { WorkerLink } from "./worker-link.ts";

/** A learner on this machine, which can also say what it has done. */
export interface LocalEngine extends Learner {
  facts(): Promise<EngineFacts>;
}

/**
 * Opens a Hugging Face model folder in worker threads of its own. Close it when done.
 * @throws VigorlError "input" or "missing" for a folder or a library that cannot be used
 */
export async function openLocalEngine(
  folder: string,
  options: LocalOptions = {},
): Promise<LocalEngine> {
  await prepareAddon();
  const { localSizes } = await import("./sizes.ts");
  const sizes = await localSizes(folder, options);
  const engine = new WorkerEngine({ folder, options: { ...options, ...sizes }, share: null });
  await engine.open();
  return engine;
}

class WorkerEngine implements LocalEngine {
  private readonly start: WorkerStart;
  /** The one that learns first. */
  private readonly links: WorkerLink[] = [];
  private readonly router = new Router(() => this.links.map(({ numSamples }) => numSamples));
  private readonly gate = new WeightGate(() => this.links.every((link) => link.numSamples === 0));
  private opened: Capabilities | undefined;

  constructor(start: WorkerStart) {
    this.start = start;
    this.connect(start);
  }

  get capabilities(): Capabilities {
    return this.opened!;
  }

  /** Waits for the first worker, then starts those that it has weights for. */
  async open(): Promise<void> {
    const { capabilities, share } = await this.links[0].ready;
    this.opened = capabilities!;
    if (share === null) return;
    const rest = Array.from({ length: share.consumers }, () =>
      this.connect({ ...this.start, share }),
    );
    try {
      await Promise.all(rest.map((link) => link.ready));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  sample(
    prompt: readonly Chunk[],
    params: SampleParams,
    options: SampleOptions = {},
  ): Promise<Sample> {
    const { signal, onToken } = options;
    const tellsTokens = onToken !== undefined;
    const send = (): Promise<Sample> => {
      const link = this.links[this.router.choose(prompt)];
      return link.request<Sample>(
        (id) => ({ kind: "sample", id, prompt: link.wire(prompt), params, tellsTokens }),
        signal,
        onToken,
      );
    };
    return this.gate.enter(false, send, signal);
  }

  forward(data: readonly Datum[], options: ForwardOptions = {}): Promise<DatumOutput[]> {
    return this.call("forward", () => [this.wire(data), options]);
  }

  forwardBackward(data: readonly Datum[], loss: Loss): Promise<StepOutput> {
    return this.call("forwardBackward", () => [this.wire(data), loss]);
  }

  optimStep(params: OptimParams): Promise<OptimOutput> {
    return this.gate.enter(true, async () => {
      const output = await this.ask("optimStep", () => [params]);
      this.tellWeights(output.weightsVersion, (this.start.options.trainable ?? "all") === "all");
      return output;
    });
  }

  async setReference(): Promise<void> {
    await this.call("setReference", () => []);
  }

  async save(folder: string, { optimizer = false } = {}): Promise<Saved> {
    await this.call("save", () => [folder, optimizer]);
    return { in: "folder" };
  }

  async load(folder: string, { optimizer = false } = {}): Promise<void> {
    await this.gate.enter(true, async () => {
      this.tellWeights(await this.ask("load", () => [folder, optimizer]), true);
    });
  }

  /** Counts of all workers together. */
  facts(): Promise<EngineFacts> {
    return this.gate.enter(false, async () => {
      const [learner, ...others] = await Promise.all(
        this.links.map((_, worker) => this.ask("facts", () => [], worker)),
      );
      const sum = { ...learner };
      for (const other of others)
        for (const name of Object.keys(sum) as (keyof EngineFacts)[])
          if (name !== "weightsVersion") sum[name] += other[name];
      return sum;
    });
  }

  async close(): Promise<void> {
    const reason = new VigorlError("interrupted", "the engine was closed");
    await Promise.all(this.links.map((link) => link.close(reason)));
    this.gate.pump();
  }

  private connect(start: WorkerStart): WorkerLink {
    const link = new WorkerLink(start, {
      idle: () => this.gate.pump(),
      // With one worker gone the others cannot stand for the engine.
      failed: (error) => {
        for (const one of this.links) one.stop(error);
        this.gate.pump();
      },
    });
    this.links.push(link);
    return link;
  }

  private tellWeights(version: number, tower: boolean): void {
    for (const link of this.links.slice(1)) link.post({ kind: "weights", version, tower });
  }

  private call<M extends Method>(
    method: M,
    args: () => Calls[M]["args"],
  ): Promise<Calls[M]["result"]> {
    return this.gate.enter(false, () => this.ask(method, args));
  }

  private ask<M extends Method>(
    method: M,
    args: () => Calls[M]["args"],
    worker = 0,
  ): Promise<Calls[M]["result"]> {
    return this.links[worker].request<Calls[M]["result"]>(
      (id) => ({ kind: "call", id, method, args: args() }) as ToWorker,
    );
  }

  private wire(data: readonly Datum[]): WireDatum[] {
    return data.map((datum) => ({ ...datum, chunks: this.links[0].wire(datum.chunks) }));
  }
}
