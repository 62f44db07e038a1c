/**
 * What crosses between the client in the caller's thread and the workers that own all tensors:
 * plain data only. Images travel once each and are named by their hash afterwards. Everything is
 * handled in the order of sending, so a chunk may name an image that was sent just before it.
 */
import { VigorlError, type ErrorCode } from "../../core/errors.ts";
import type { ModelImage } from "../../image/model-image.ts";
import type { LayerRank } from "../../model/adapter.ts";
import type { ModelConfig } from "../../model/config.ts";
import type { Device, DType } from "../../torch/tensor.ts";
import type { Learning } from "../kind.ts";
import type { LoraStart } from "../lora.ts";
import type { LocalSizes } from "./sizes.ts";
import type {
  Capabilities,
  Datum,
  DatumOutput,
  ForwardOptions,
  Loss,
  OptimOutput,
  OptimParams,
  Sample,
  SampleParams,
  StepOutput,
} from "../types.ts";

/** How the local engine works; what is left open is worked out in `sizes.ts`. */
export interface LocalOptions {
  /** Default "cpu". */
  readonly device?: Device;
  /** Of weights and arithmetic; bfloat16 keeps float32 master weights. */
  readonly dtype?: DType;
  /** Sequences that one sampler decodes side by side. */
  readonly numSlots?: number;
  /**
   * Workers that sample, each in a thread of its own with slots of its own; the first of them also
   * learns. On a CPU a small model samples in one thread a worker.
   */
  readonly samplers?: number;
  /** Longest sequence, prompt and answer together. */
  readonly maxPositions?: number;
  /**
   * Default true. An engine that only samples keeps nothing for learning; where one sampler's weights are
   * packed, in float32 on a CPU, these take the place of the model's.
   */
  readonly learns?: boolean;
  /** What its memory is planned for, where it learns; default: `trainable` and `lora`, all else plain. */
  readonly learning?: Learning;
  /** `language` freezes the vision tower and keeps its features. Default "all". */
  readonly trainable?: "all" | "language";
  /** Folder of an adapter that belongs to the model. */
  readonly adapter?: string;
  /** Trains an adapter and nothing else: that of `adapter`, or a new one. */
  readonly lora?: LoraStart;
  /** Bound on padded positions of one learning micro-batch; a longer sequence goes alone. */
  readonly tokensPerMicroBatch?: number;
  /** Keep what goes from layer to layer alone while learning, and run each layer twice. Default false. */
  readonly gradientCheckpointing?: boolean;
  /** Bound on the bytes of one block of logits while learning. Default 512 MiB; on a GPU 2 GiB. */
  readonly logitsBytes?: number;
  /** Bound on the bytes of kept vision features. */
  readonly featureBytes?: number;
  /** Bound on the bytes of the keys and values of all samplers. */
  readonly cacheBytes?: number;
  /** A model whose weights take more is refused before it is loaded. */
  readonly maxWeightsBytes?: number;
  /** Threads inside tensor operators, or shared out among samplers. */
  readonly threads?: number;
}

export type WireChunk =
  | { readonly type: "text"; readonly tokens: readonly number[] }
  | { readonly type: "image"; readonly hash: string };

export type WireDatum = Omit<Datum, "chunks"> & { readonly chunks: readonly WireChunk[] };

/** Counters since the engine was opened, and what it holds now. */
export interface EngineFacts {
  /** Tensors alive in the workers. */
  readonly liveTensors: number;
  readonly weightsVersion: number;
  /** Passes over pieces of prompts, and the positions they computed. */
  readonly prefills: number;
  readonly prefillPositions: number;
  /** Positions of prompts that stood in the cache already. */
  readonly cachedPositions: number;
  readonly decodeSteps: number;
  /** Tokens sampled. */
  readonly sampledTokens: number;
  /** Vision tower runs for sampling. */
  readonly visionRuns: number;
  /** Of all workers together. */
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
  /** Contents of the cache that were given up for prompts that do not go on after them. */
  readonly evictions: number;
}

/** The calls besides sampling: arguments and result by method. */
export interface Calls {
  forward: { args: [data: WireDatum[], options: ForwardOptions]; result: DatumOutput[] };
  forwardBackward: { args: [data: WireDatum[], loss: Loss]; result: StepOutput };
  optimStep: { args: [params: OptimParams]; result: OptimOutput };
  setReference: { args: []; result: null };
  save: { args: [folder: string, optimizer: boolean]; result: null };
  /** Results in the number of steps that the loaded weights have seen. */
  load: { args: [folder: string, optimizer: boolean]; result: number };
  facts: { args: []; result: EngineFacts };
  close: { args: []; result: null };
}

export type Method = keyof Calls;

export type Call = {
  [M in Method]: {
    readonly kind: "call";
    readonly id: number;
    readonly method: M;
    readonly args: Calls[M]["args"];
  };
}[Method];

export interface SampleRequest {
  readonly kind: "sample";
  readonly id: number;
  readonly prompt: readonly WireChunk[];
  readonly params: SampleParams;
  readonly tellsTokens: boolean;
}

export type ToWorker =
  | Call
  | SampleRequest
  | { readonly kind: "abort"; readonly id: number }
  /** To workers that only sample: the shared weights are others now, those of the tower where said. */
  | { readonly kind: "weights"; readonly version: number; readonly tower: boolean }
  | { readonly kind: "image"; readonly image: ModelImage }
  | { readonly kind: "forget"; readonly hash: string };

export type FromWorker =
  | {
      readonly kind: "ready";
      /** Null from workers that only sample. */
      readonly capabilities: Capabilities | null;
      /** For the other workers, where there are to be any. */
      readonly share: Share | null;
    }
  | { readonly kind: "result"; readonly id: number; readonly value: unknown }
  | {
      readonly kind: "token";
      readonly id: number;
      readonly token: number;
      readonly logprob: number;
    }
  | { readonly kind: "sampled"; readonly id: number; readonly sample: Sample }
  /** The worker no longer works on a sample that was called off. */
  | { readonly kind: "aborted"; readonly id: number }
  | { readonly kind: "error"; readonly id: number | null; readonly error: WireError };

/** Options with nothing left open that a worker reads. */
export type WorkerOptions = LocalSizes &
  Pick<
    LocalOptions,
    "learns" | "trainable" | "logitsBytes" | "gradientCheckpointing" | "adapter" | "lora"
  >;

/** What a worker is started with. */
export interface WorkerStart {
  readonly folder: string;
  readonly options: WorkerOptions;
  /** Set for workers that only sample, with the weights of the one that learns. */
  readonly share: Share | null;
}

/** A model in the memory of this process, offered to a number of workers. */
export interface Share {
  /** How many workers take it. */
  readonly consumers: number;
  readonly config: ModelConfig;
  /** By parameter name: what `takeTensor` asks for. */
  readonly tensors: ReadonlyMap<string, number>;
  /** The decoder's copies. */
  readonly decoderWeights: number;
  readonly adapter: {
    readonly ranks: ReadonlyMap<string, LayerRank>;
    /** By parameter name. */
    readonly tensors: ReadonlyMap<string, number>;
  } | null;
}

/** An error as plain data; `code` only where it is a VigorlError. */
export interface WireError {
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: ErrorCode | undefined;
  readonly hint: string | undefined;
}

export function toWireError(error: unknown): WireError {
  const known = error instanceof VigorlError ? error : undefined;
  return {
    message: error instanceof Error ? error.message : String(error),
    stack: error instanceof Error ? error.stack : undefined,
    code: known?.code,
    hint: known?.hint,
  };
}

/** Rebuilds the error on the other side, keeping the worker's stack. */
export function fromWireError(wire: WireError): Error {
  const error =
    wire.code === undefined
      ? new Error(wire.message)
      : new VigorlError(wire.code, wire.message, { hint: wire.hint });
  if (wire.stack !== undefined) error.stack = wire.stack;
  return error;
}
