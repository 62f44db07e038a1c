/**
 * The messages of the Tinker protocol that are protobuf, written and read by hand: requests of
 * forward and backward passes, results of these and of samples (package `tinker_public`; the wire of
 * SDK 0.25 and later). Numbers are little-endian arrays inside of bytes fields.
 * Left out: audio, sparse tensors, provenance, top-k.
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { VigorlError } from "../../core/errors.ts";

export type WireChunk =
  | { readonly type: "text"; readonly tokens: readonly number[] }
  | { readonly type: "image"; readonly png: Uint8Array; readonly numTokens: number };

/** Arrays over the N positions of the input: entry i speaks of the token behind position i. */
export interface WireDatum {
  readonly chunks: readonly WireChunk[];
  readonly targets: Int32Array;
  readonly weights: Float32Array;
}

export interface PassRequest {
  readonly modelId: string;
  readonly seqId: number;
  readonly data: readonly WireDatum[];
  readonly forwardOnly: boolean;
}

export interface PassResult {
  /** For each datum, over its N positions. */
  readonly logprobs_N: readonly Float32Array[];
  readonly metrics: Readonly<Record<string, number>>;
}

export interface SampleResult {
  readonly sequences: readonly {
    readonly stopped: boolean;
    readonly tokens: number[];
    readonly logprobs: number[] | null;
  }[];
  /** Over the prompt, or over all of it but its first position; null where none came. */
  readonly promptLogprobs: Float32Array | null;
}

const DTYPE = { float32: 1, int64: 2 } as const;

/** `ForwardBackwardRequest` with the loss `cross_entropy`, which is −Σ weight · log-probability. */
export function encodePass({ modelId, seqId, data, forwardOnly }: PassRequest): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(modelId);
  writer.tag(2, WireType.Varint).int32(seqId);
  for (const datum of data) {
    writer.tag(3, WireType.LengthDelimited).fork();
    for (const chunk of datum.chunks) writeChunk(writer, chunk);
    const targets = BigInt64Array.from(datum.targets, BigInt);
    writeInput(writer, "target_tokens", bytesOf(targets), DTYPE.int64, datum.targets.length);
    writeInput(writer, "weights", bytesOf(datum.weights), DTYPE.float32, datum.weights.length);
    writer.join();
  }
  writer.tag(4, WireType.LengthDelimited).string("cross_entropy");
  if (forwardOnly) writer.tag(6, WireType.Varint).bool(true);
  return writer.finish();
}

function writeChunk(writer: BinaryWriter, chunk: WireChunk): void {
  writer.tag(1, WireType.LengthDelimited).fork();
  if (chunk.type === "text") {
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).bytes(bytesOf(Int32Array.from(chunk.tokens)));
  } else {
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).bytes(chunk.png);
    writer.tag(2, WireType.LengthDelimited).string("png");
    writer.tag(3, WireType.Varint).int32(chunk.numTokens);
  }
  writer.join().join();
}

function writeInput(
  writer: BinaryWriter,
  name: string,
  dense: Uint8Array,
  dtype: number,
  length: number,
): void {
  writer.tag(2, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string(name);
  writer.tag(2, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).bytes(dense);
  writer.tag(3, WireType.Varint).int32(dtype);
  writer.tag(4, WireType.LengthDelimited).fork().int64(length).join();
  writer.join().join();
}

/** `ForwardBackwardOutput`. @throws VigorlError("io") for bytes that are none, or without log-probabilities */
export function decodePass(bytes: Uint8Array): PassResult {
  return reading("ForwardBackwardOutput", () => {
    const logprobs_N: Float32Array[] = [];
    const metrics: Record<string, number> = {};
    for (const { field, reader, skip } of fieldsOf(bytes)) {
      if (field === 2) logprobs_N.push(...readRecord(reader.bytes()));
      else if (field === 3) {
        let [name, value] = ["", 0];
        for (const entry of fieldsOf(reader.bytes()))
          if (entry.field === 1) name = entry.reader.string();
          else if (entry.field === 2) value = entry.reader.double();
          else entry.skip();
        metrics[name] = value;
      } else skip();
    }
    return { logprobs_N, metrics };
  });
}

/** The tensors called `logprobs` of an `ArrayRecord`, one a datum. */
function readRecord(bytes: Uint8Array): Float32Array[] {
  for (const { field, reader, skip } of fieldsOf(bytes)) {
    if (field !== 2) {
      skip();
      continue;
    }
    let name = "";
    let tensor: Uint8Array | undefined;
    for (const entry of fieldsOf(reader.bytes()))
      if (entry.field === 1) name = entry.reader.string();
      else if (entry.field === 2) tensor = entry.reader.bytes();
      else entry.skip();
    if (name === "logprobs" && tensor !== undefined) return readBatch(tensor);
  }
  throw new Error("a record without logprobs");
}

function readBatch(bytes: Uint8Array): Float32Array[] {
  let data = new Uint8Array();
  let offsets = new BigInt64Array();
  let dtype = 0;
  for (const { field, reader, skip } of fieldsOf(bytes))
    if (field === 1) data = new Uint8Array(reader.bytes());
    else if (field === 2) offsets = new BigInt64Array(aligned(reader.bytes(), 8));
    else if (field === 3) dtype = reader.int32();
    else skip();
  if (dtype !== DTYPE.float32) throw new Error(`logprobs of dtype ${dtype}, not float32`);
  return Array.from({ length: Math.max(0, offsets.length - 1) }, (_, n) => {
    const [start, end] = [Number(offsets[n]), Number(offsets[n + 1])];
    if (!(0 <= start && start <= end && end <= data.length))
      throw new Error("offsets beyond their data");
    return new Float32Array(aligned(data.subarray(start, end), 4));
  });
}

/** `SampleResponse`. @throws VigorlError("io") for bytes that are none */
export function decodeSample(bytes: Uint8Array): SampleResult {
  return reading("SampleResponse", () => {
    const sequences: SampleResult["sequences"][number][] = [];
    let promptLogprobs: Float32Array | null = null;
    for (const { field, reader, skip } of fieldsOf(bytes))
      if (field === 1) sequences.push(readSequence(reader.bytes()));
      else if (field === 2) promptLogprobs = new Float32Array(aligned(reader.bytes(), 4));
      else skip();
    return { sequences, promptLogprobs };
  });
}

function readSequence(bytes: Uint8Array): SampleResult["sequences"][number] {
  let stopped = true;
  let tokens: number[] = [];
  let logprobs: number[] | null = null;
  for (const { field, reader, skip } of fieldsOf(bytes))
    if (field === 1) stopped = reader.int32() === 0;
    else if (field === 2) tokens = [...new Int32Array(aligned(reader.bytes(), 4))];
    else if (field === 3) logprobs = [...new Float32Array(aligned(reader.bytes(), 4))];
    else skip();
  return { stopped, tokens, logprobs };
}

/** The fields of a message; each has to be read, or skipped, before the next. */
function* fieldsOf(
  bytes: Uint8Array,
): Generator<{ field: number; reader: BinaryReader; skip: () => void }> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    yield { field, reader, skip: () => void reader.skip(type, field) };
  }
}

/** Bytes as a buffer of their own, of a whole number of items. */
function aligned(bytes: Uint8Array, itemBytes: number): ArrayBuffer {
  if (bytes.length % itemBytes !== 0) throw new Error(`${bytes.length} bytes of numbers`);
  return new Uint8Array(bytes).buffer;
}

function bytesOf(numbers: BigInt64Array | Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}

function reading<T>(message: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new VigorlError("io", `the reply is no ${message} of the protocol: ${reason}`, { cause });
  }
}
