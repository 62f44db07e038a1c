/**
 * Writing safetensors, byte for byte as the reference implementation lays files out. A file is
 * written beside its place, flushed and renamed, so that a killed run never leaves half a file.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { ioError } from "../core/files.ts";
import { dtypeBytes, type DType } from "./dtype.ts";
import type { Tensor } from "./ops.ts";
import { safetensorsDtypes } from "./safetensors.ts";
import { scope } from "./scope.ts";

type Named = readonly [name: string, tensor: Tensor];

const codes = new Map(Object.entries(safetensorsDtypes).map(([code, dtype]) => [dtype, code]));
const alignment: readonly DType[] = [
  "int64",
  "float64",
  "float32",
  "int32",
  "bfloat16",
  "float16",
  "int16",
  "int8",
  "uint8",
  "bool",
];

/** Writes one file. Throws VigorlError("io") when the disk is full or the folder is not writable. */
export function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, Tensor>,
  options: { metadata?: Readonly<Record<string, string>> } = {},
): void {
  const named = [...tensors].sort(byLayout);
  const header = headerOf(named, options.metadata);
  const beside = `${file}.part-${process.pid}`;
  try {
    const fd = openSync(beside, "w");
    try {
      writeFully(fd, header);
      for (const [, tensor] of named)
        writeFully(
          fd,
          scope(() => tensor.toBytes()),
        );
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw ioError(error, file);
  }
}

/**
 * Writes `model.safetensors` into a folder, or shards of at most `maxShardBytes` with their index
 * where it is too large for one (default 5 GB, as transformers). Tensors keep the map's order.
 */
export function writeSafetensorsFolder(
  folder: string,
  tensors: ReadonlyMap<string, Tensor>,
  options: { maxShardBytes?: number; metadata?: Readonly<Record<string, string>> } = {},
): void {
  const { maxShardBytes = 5e9, metadata = { format: "pt" } } = options;
  mkdirSync(folder, { recursive: true });
  const shards = shardsOf(tensors, maxShardBytes);
  const indexFile = join(folder, "model.safetensors.index.json");
  if (shards.length <= 1) {
    writeSafetensors(join(folder, "model.safetensors"), tensors, { metadata });
    rmSync(indexFile, { force: true });
    return;
  }
  const digits = (n: number) => String(n).padStart(5, "0");
  const weightMap: Record<string, string> = {};
  let totalSize = 0;
  for (const [i, shard] of shards.entries()) {
    const name = `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`;
    writeSafetensors(join(folder, name), new Map(shard), { metadata });
    for (const [tensorName, tensor] of shard) {
      weightMap[tensorName] = name;
      totalSize += bytesOf(tensor);
    }
  }
  const index = { metadata: { total_size: totalSize }, weight_map: weightMap };
  const beside = `${indexFile}.part-${process.pid}`;
  try {
    const fd = openSync(beside, "w");
    try {
      writeFully(fd, new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(beside, indexFile);
  } catch (error) {
    rmSync(beside, { force: true });
    throw ioError(error, indexFile);
  }
}

function shardsOf(tensors: ReadonlyMap<string, Tensor>, maxShardBytes: number): Named[][] {
  const shards: Named[][] = [[]];
  let used = 0;
  for (const named of tensors) {
    const bytes = bytesOf(named[1]);
    if (used > 0 && used + bytes > maxShardBytes) {
      shards.push([]);
      used = 0;
    }
    shards.at(-1)!.push(named);
    used += bytes;
  }
  return shards;
}

/** Widest elements first, then by name, so that every tensor is aligned. */
function byLayout([nameA, a]: Named, [nameB, b]: Named): number {
  return (
    alignment.indexOf(a.dtype) - alignment.indexOf(b.dtype) ||
    (nameA < nameB ? -1 : nameA > nameB ? 1 : 0)
  );
}

function headerOf(
  named: readonly Named[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const entries: [string, unknown][] = metadata === undefined ? [] : [["__metadata__", metadata]];
  let offset = 0;
  for (const [name, tensor] of named) {
    const end = offset + bytesOf(tensor);
    const dtype = codes.get(tensor.dtype);
    entries.push([name, { dtype, shape: tensor.shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  // Built by hand: an object would put names such as "7" first.
  const fields = entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  const text = new TextEncoder().encode(`{${fields.join(",")}}`);
  const padded = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(text, 8);
  return bytes;
}

function bytesOf(tensor: Tensor): number {
  return tensor.numel * dtypeBytes[tensor.dtype];
}

function writeFully(fd: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) {
    done += writeSync(fd, bytes, done, Math.min(bytes.length - done, 1 << 30));
  }
}
