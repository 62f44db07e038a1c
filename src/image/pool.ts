/**
 * Threads that decode pictures and bring them to a model's size, so that whoever answers other people
 * meanwhile stays awake. A thread has one picture at a time; one that takes too long costs its thread.
 */
import type { Worker } from "node:worker_threads";
import { VigorlError, type ErrorCode } from "../core/errors.ts";
import { startWorker } from "../core/worker.ts";
import { loadDecoder, type DecodeOptions, type RgbImage } from "./decode.ts";
import type { ModelImage, PixelBudget } from "./model-image.ts";
import type { PreprocessorConfig } from "./preprocessor-config.ts";

/** A picture to be read, as `decodeImage` and `toModelImage` read it. */
export interface PictureJob {
  readonly bytes: Uint8Array;
  readonly decode: DecodeOptions;
  readonly budget: PixelBudget;
  readonly preprocessor: PreprocessorConfig;
  /** Hand out the picture's own pixels, too. */
  readonly keepsPixels?: boolean;
}

export interface ReadPicture {
  /** At the model's size. */
  readonly seen: ModelImage;
  /** As it was given; null unless kept. */
  readonly pixels: RgbImage | null;
}

export type PictureReply =
  | ReadPicture
  | { readonly error: { code: ErrorCode | null; message: string; hint: string | undefined } };

interface Waiting {
  readonly job: PictureJob;
  readonly settle: (reply: PictureReply | Error) => void;
}

export interface PoolOptions {
  readonly threads?: number;
  /** Longest time for one picture, start of the thread included. */
  readonly limitMs?: number;
}

export class PicturePool {
  private readonly numThreads: number;
  private readonly limitMs: number;
  private readonly idle: Seat[] = [];
  private readonly all = new Set<Seat>();
  private readonly waiting: Waiting[] = [];

  constructor({ threads = 2, limitMs = 60_000 }: PoolOptions = {}) {
    this.numThreads = threads;
    this.limitMs = limitMs;
  }

  /**
   * @throws VigorlError("input") as `decodeImage`, and where it takes too long; the reason of `signal`
   */
  async read(job: PictureJob, signal: AbortSignal): Promise<ReadPicture> {
    signal.throwIfAborted();
    const reply = await new Promise<PictureReply | Error>((settle) => {
      const one: Waiting = {
        job,
        settle: (answer) => {
          signal.removeEventListener("abort", onAbort);
          settle(answer);
        },
      };
      const onAbort = () => {
        const at = this.waiting.indexOf(one);
        if (at >= 0) this.waiting.splice(at, 1);
        settle(signal.reason as Error);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.waiting.push(one);
      this.next();
    });
    if (reply instanceof Error) throw reply;
    if ("seen" in reply) return reply;
    const { code, message, hint } = reply.error;
    if (code === null) throw new Error(message);
    throw new VigorlError(code, message, hint === undefined ? {} : { hint });
  }

  /** Ends the threads; what was running fails. */
  async close(): Promise<void> {
    await Promise.all([...this.all].map(({ worker }) => worker.terminate()));
  }

  private next(): void {
    if (this.waiting.length === 0) return;
    const seat = this.idle.pop() ?? this.start();
    if (seat === undefined) return;
    const { job, settle } = this.waiting.shift()!;
    const { worker } = seat;
    const seconds = Math.round(this.limitMs / 1000);
    const timer = setTimeout(() => seat.fail?.(`not read within ${seconds} s`), this.limitMs);
    const end = (reply: PictureReply | Error) => {
      clearTimeout(timer);
      seat.answer = seat.fail = undefined;
      worker.unref();
      settle(reply);
      this.next();
    };
    seat.answer = (reply) => {
      this.idle.push(seat);
      end(reply);
    };
    seat.fail = (what) => {
      this.remove(seat);
      const name = job.decode.name ?? "image";
      const hint = "shrink or export it again";
      end(new VigorlError("input", `${name}: ${what}`, { hint }));
    };
    worker.ref();
    worker.postMessage(job);
  }

  private start(): Seat | undefined {
    if (this.all.size >= this.numThreads) return undefined;
    // Its libraries have to be there before a thread brings them, and after it is gone.
    loadDecoder();
    const worker = startWorker("image/pool-thread", null, { maxOldGenerationSizeMb: HEAP_MB });
    const seat: Seat = { worker, answer: undefined, fail: undefined };
    this.all.add(seat);
    const ended = (what: string) => (seat.fail ? seat.fail(what) : this.remove(seat));
    worker.on("message", (reply: PictureReply) => seat.answer?.(reply));
    worker.on("error", (error) => ended(`its thread failed: ${error.message}`));
    worker.on("exit", () => ended("its thread ended"));
    return seat;
  }

  private remove(seat: Seat): void {
    this.all.delete(seat);
    const at = this.idle.indexOf(seat);
    if (at >= 0) this.idle.splice(at, 1);
    void seat.worker.terminate();
  }
}

/** A thread, and what is told of the picture before it. */
interface Seat {
  readonly worker: Worker;
  answer: ((reply: PictureReply) => void) | undefined;
  fail: ((what: string) => void) | undefined;
}

/** Pixels lie outside of it. */
const HEAP_MB = 256;
