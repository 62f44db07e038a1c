/**
 * What crosses between the client in the caller's thread and the worker that owns all tensors:
 * plain data only. Images travel once each and are named by their hash afterwards. Everything is
 * handled in the order of sending, so a chunk may name an image that was sent just before it.
 */
import { VigorlError, type ErrorCode } from "../../core/errors.ts";
import type { ModelImage } from "../../image/model-image.ts";
import type { Device, DType } from "../../torch/tensor.ts";
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

/** How the local engine works; the defaults suit the nano model on a CPU. */
export interface LocalOptions {
  /** Default "cpu". */
  readonly device?: Device;
  /** Of weights and arithmetic. Default float32; bfloat16 keeps float32 master weights. */
  readonly dtype?: DType;
  /** Sequences decoded side by side; also the fixed number of rows of a decode step. Default 64. */
  readonly numSlots?: number;
  /** Longest sequence, prompt and answer together. Default: the model's own, at most 4096. */
  readonly maxPositions?: number;
  /** `language` freezes the vision tower and keeps its features. Default "all". */
  readonly trainable?: "all" | "language";
  /** Bound on padded positions of one learning micro-batch. Default 4096. */
  readonly tokensPerMicroBatch?: number;
  /** Bound on the bytes of one block of logits while learning. Default 512 MiB. */
  readonly logitsBytes?: number;
  /** Bound on the bytes of kept vision features. Default 512 MiB. */
  readonly featureBytes?: number;
  /** Threads inside tensor operators. Default: libtorch's own choice. */
  readonly threads?: number;
}

export type WireChunk =
  | { readonly type: "text"; readonly tokens: readonly number[] }
  | { readonly type: "image"; readonly hash: string };

export type WireDatum = Omit<Datum, "chunks"> & { readonly chunks: readonly WireChunk[] };

/** Counters since the engine was opened, and what it holds now. */
export interface EngineFacts {
  /** Tensors alive in the worker. */
  readonly liveTensors: number;
  readonly weightsVersion: number;
  readonly prefills: number;
  readonly prefillPositions: number;
  /** Prompts taken from another slot instead of being prefilled. */
  readonly sharedPrompts: number;
  readonly decodeSteps: number;
  /** Tokens sampled. */
  readonly sampledTokens: number;
  /** Vision tower runs for sampling. */
  readonly visionRuns: number;
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
  /** Sessions whose cache was given to another request. */
  readonly evictions: number;
}

/** The calls besides sampling: arguments and result by method. */
export interface Calls {
  forward: { args: [data: WireDatum[], options: ForwardOptions]; result: DatumOutput[] };
  forwardBackward: { args: [data: WireDatum[], loss: Loss]; result: StepOutput };
  optimStep: { args: [params: OptimParams]; result: OptimOutput };
  setReference: { args: []; result: null };
  save: { args: [folder: string, optimizer: boolean]; result: null };
  load: { args: [folder: string, optimizer: boolean]; result: null };
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
  readonly session: string | undefined;
  readonly tellsTokens: boolean;
}

export type ToWorker =
  | Call
  | SampleRequest
  | { readonly kind: "abort"; readonly id: number }
  | { readonly kind: "release"; readonly session: string }
  | { readonly kind: "image"; readonly image: ModelImage }
  | { readonly kind: "forget"; readonly hash: string };

export type FromWorker =
  | { readonly kind: "ready"; readonly capabilities: Capabilities }
  | { readonly kind: "result"; readonly id: number; readonly value: unknown }
  | {
      readonly kind: "token";
      readonly id: number;
      readonly token: number;
      readonly logprob: number;
    }
  | { readonly kind: "sampled"; readonly id: number; readonly sample: Sample }
  | { readonly kind: "error"; readonly id: number | null; readonly error: WireError };

/** What the worker is started with. */
export interface WorkerStart {
  readonly folder: string;
  readonly options: LocalOptions;
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
