/**
 * Reading safetensors: one file, a folder with `model.safetensors`, or a sharded folder with its
 * index. Headers are read at once and distrusted; tensors are mapped one by one when asked for, and
 * copied only to another dtype or device.
 * Left out: the 8-bit floats and unsigned wide integers, which libtorch 1.13 cannot hold.
 */
import { closeSync, existsSync, fstatSync, readSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { joinNames } from "../core/inside.ts";
import { jsonProblem } from "../core/json-text.ts";
import { openRegularSync, readRegularSync } from "../core/regular-file.ts";
import { zeroPages } from "./arena.ts";
import { dtypeBytes, type Device, type DType } from "./dtype.ts";
import type { Tensor } from "./ops.ts";
import { scope } from "./scope.ts";
import { tensorFromFile } from "./tensor.ts";

export interface TensorInfo {
  dtype: DType;
  shape: readonly number[];
  /** Position in the file, and length. */
  offset: number;
  numBytes: number;
}

export interface Safetensors {
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  info(name: string): TensorInfo;
  /**
   * One tensor. As it is stored and on the CPU it is the file's memory: it outlives `close`, and what is
   * written to it stays here. Throws VigorlError("input") for an unknown name, naming the file.
   */
  read(name: string, options?: { dtype?: DType; device?: Device }): Tensor;
  close(): void;
}

/** safetensors' names of the dtypes. */
export const safetensorsDtypes: Readonly<Record<string, DType>> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U8: "uint8",
  BOOL: "bool",
};

const maxHeaderBytes = 100_000_000; // the limit of the format's reference implementation
const size = z.int().nonnegative();
const entrySchema = z.strictObject({
  dtype: z.string(),
  shape: z.array(size).max(32),
  data_offsets: z.tuple([size, size]),
});
const metadataSchema = z.record(z.string(), z.string());
const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** Opens a `.safetensors` file, an index file, or a folder that holds either. */
export function openSafetensors(path: string): Safetensors {
  const file = locate(path);
  return file.endsWith(".index.json") ? openShards(file) : openFile(file);
}

interface Header {
  metadata: Record<string, string>;
  tensors: Map<string, TensorInfo>;
}

function locate(path: string): string {
  if (!existsSync(path)) throw refuse(path, "no such file or folder");
  if (!statSync(path).isDirectory()) return path;
  for (const name of ["model.safetensors.index.json", "model.safetensors"]) {
    if (existsSync(join(path, name))) return join(path, name);
  }
  throw refuse(path, "no model.safetensors in this folder");
}

function openFile(file: string): Safetensors {
  const fd = openRegularSync(file);
  let header: Header;
  try {
    header = readHeader(fd, file);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  let open = true;
  const info = (name: string): TensorInfo => {
    const found = header.tensors.get(name);
    if (found === undefined) throw refuse(file, `no tensor ${name}`);
    return found;
  };
  return {
    names: [...header.tensors.keys()],
    metadata: header.metadata,
    info,
    read: (name, { dtype, device } = {}) => {
      const { offset, shape, dtype: stored } = info(name);
      if (!open) throw refuse(file, `tensor ${name}: the file was closed`);
      return scope(() => {
        const made = tensorFromFile(fd, offset, shape, stored);
        if (device !== undefined && device !== "cpu") return made.to({ dtype, device });
        if (dtype === undefined || dtype === stored) return made;
        return zeroPages(shape, dtype).copy_(made);
      });
    },
    close: () => {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

function openShards(indexFile: string): Safetensors {
  const text = readRegularSync(indexFile, maxHeaderBytes).toString("utf8");
  const index = indexSchema.safeParse(parseJson(text, indexFile));
  if (!index.success) throw refuse(indexFile, "not an index: weight_map is missing or wrong");
  const shards = new Map<string, Safetensors>();
  const owner = new Map<string, Safetensors>();
  const close = () => shards.forEach((shard) => shard.close());
  try {
    for (const [name, shardName] of Object.entries(index.data.weight_map)) {
      const file = joinNames(dirname(indexFile), shardName);
      let shard = shards.get(shardName);
      if (shard === undefined) {
        if (!existsSync(file)) throw refuse(file, `missing; ${basename(indexFile)} names it`);
        shards.set(shardName, (shard = openFile(file)));
      }
      shard.info(name);
      owner.set(name, shard);
    }
  } catch (error) {
    close();
    throw error;
  }
  const find = (name: string): Safetensors => {
    const shard = owner.get(name);
    if (shard === undefined) throw refuse(indexFile, `no tensor ${name}`);
    return shard;
  };
  return {
    names: [...owner.keys()],
    metadata: Object.assign({}, ...[...shards.values()].map((shard) => shard.metadata)),
    info: (name) => find(name).info(name),
    read: (name, options) => find(name).read(name, options),
    close,
  };
}

function readHeader(fd: number, file: string): Header {
  const fileBytes = fstatSync(fd).size;
  if (fileBytes < 10) throw refuse(file, "too short for a safetensors file");
  const prefix = new Uint8Array(8);
  readFully(fd, prefix, 0, file, "the header's length");
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > maxHeaderBytes) throw refuse(file, `header of ${length} bytes, more than allowed`);
  if (length > fileBytes - 8) throw refuse(file, `header of ${length} bytes in a shorter file`);
  const bytes = new Uint8Array(length);
  readFully(fd, bytes, 8, file, "the header");
  const text = decodeUtf8(bytes, file);
  const json = parseJson(text, file);
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw refuse(file, "the header is not a JSON object");
  }
  const { __metadata__: rawMetadata = {}, ...entries } = json as Record<string, unknown>;
  const metadata = metadataSchema.safeParse(rawMetadata);
  if (!metadata.success) throw refuse(file, "__metadata__ must map strings to strings");
  const start = 8 + length;
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of Object.entries(entries)) {
    tensors.set(name, checkEntry(name, entry, start, file));
  }
  checkLayout(tensors, start, fileBytes, file);
  return { metadata: metadata.data, tensors };
}

function checkEntry(name: string, entry: unknown, start: number, file: string): TensorInfo {
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) {
    throw refuse(file, `tensor ${name}: ${z.prettifyError(parsed.error).replaceAll("\n", " ")}`);
  }
  const { dtype: code, shape, data_offsets: offsets } = parsed.data;
  const dtype = Object.hasOwn(safetensorsDtypes, code) ? safetensorsDtypes[code] : undefined;
  if (dtype === undefined) throw refuse(file, `tensor ${name}: dtype ${code} is not supported`);
  const numBytes = shape.reduce((product, n) => product * n, dtypeBytes[dtype]);
  if (!Number.isSafeInteger(numBytes) || offsets[1] - offsets[0] !== numBytes) {
    throw refuse(
      file,
      `tensor ${name}: ${code} of [${shape.join(",")}] takes ${numBytes} bytes, ` +
        `its offsets [${offsets.join(",")}] give ${offsets[1] - offsets[0]}`,
    );
  }
  return { dtype, shape, offset: start + offsets[0], numBytes };
}

/** Tensors must tile the file: no overlap, no gap, nothing before or after. */
function checkLayout(
  tensors: ReadonlyMap<string, TensorInfo>,
  start: number,
  fileBytes: number,
  file: string,
): void {
  const sorted = [...tensors].sort(
    ([, a], [, b]) => a.offset - b.offset || a.numBytes - b.numBytes,
  );
  let position = start;
  for (const [name, { offset, numBytes }] of sorted) {
    if (offset < position) throw refuse(file, `tensor ${name}: overlaps the one before it`);
    if (offset > position) throw refuse(file, `tensor ${name}: a gap of bytes before it`);
    position += numBytes;
    if (position > fileBytes) throw refuse(file, `tensor ${name}: ends after the file does`);
  }
  if (position !== fileBytes) {
    throw refuse(file, `${fileBytes - position} bytes after the last tensor`);
  }
}

function decodeUtf8(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw refuse(file, "the header is not UTF-8", cause);
  }
}

function parseJson(text: string, file: string): unknown {
  const problem = jsonProblem(text);
  if (problem !== null) throw refuse(file, `the header ${problem}`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw refuse(file, "the header is not JSON", cause);
  }
}

function readFully(fd: number, out: Uint8Array, at: number, file: string, what: string): void {
  let done = 0;
  while (done < out.length) {
    const wanted = Math.min(out.length - done, 1 << 30);
    const got = readSync(fd, out, done, wanted, at + done);
    if (got === 0) throw refuse(file, `${what}: the file ends early`);
    done += got;
  }
}

function refuse(file: string, problem: string, cause?: unknown): VigorlError {
  return new VigorlError("input", `${file}: ${problem}`, {
    hint: "save or download the file again",
    cause,
  });
}
