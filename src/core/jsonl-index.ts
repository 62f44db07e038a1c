/**
 * The lines of a JSONL file in any order, each read again when it is looked at: what is held are the places
 * of the lines. The file is opened anew each time, and held to what it was.
 */
import { closeSync, fstatSync, readSync, type Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { z } from "zod";
import { VigorlError } from "./errors.ts";
import { ioError } from "./files.ts";
import { parseJsonlLine, readJsonlPlaced } from "./jsonl.ts";
import { openRegularSync } from "./regular-file.ts";

/** What becomes of a line. @throws VigorlError naming the place */
export type ParseLine<T> = (value: unknown, place: string) => T;

export interface IndexOptions<T> {
  /** Only so many lines from the front. */
  readonly limit?: number;
  /** Called with each line as the index is made. */
  readonly onLine?: (value: T, place: string) => void;
}

/** Walks `file` once. @throws VigorlError("input") at the first bad line, "io" where it cannot be read */
export async function indexJsonl<T>(
  file: string,
  parse: ParseLine<T>,
  { limit = Infinity, onLine }: IndexOptions<T> = {},
): Promise<JsonlIndex<T>> {
  const entry = await stat(file).catch((error: unknown) => {
    throw ioError(error, file);
  });
  const lines: Lines = { numbers: [], starts: [], ends: [] };
  for await (const { value, place, start, end } of readJsonlPlaced(file, z.unknown())) {
    onLine?.(parse(value, place), place);
    lines.numbers.push(Number(place.slice(file.length + 1)));
    lines.starts.push(start);
    lines.ends.push(end);
    if (lines.starts.length >= limit) break;
  }
  return new JsonlIndex(file, entry, lines, parse);
}

interface Lines {
  /** From 1. */
  readonly numbers: number[];
  /** In bytes. */
  readonly starts: number[];
  readonly ends: number[];
}

export class JsonlIndex<T> implements Iterable<T> {
  private readonly file: string;
  private readonly entry: Stats;
  private readonly lines: Lines;
  private readonly parse: ParseLine<T>;

  constructor(file: string, entry: Stats, lines: Lines, parse: ParseLine<T>) {
    this.file = file;
    this.entry = entry;
    this.lines = lines;
    this.parse = parse;
  }

  get length(): number {
    return this.lines.starts.length;
  }

  /** @throws VigorlError("input" | "io") where the file is no longer what it was */
  at(index: number): T | undefined {
    if (index >= this.length) return undefined;
    const handle = this.open();
    try {
      return this.read(handle, index, Buffer.alloc(this.bytesOf(index)));
    } finally {
      closeSync(handle);
    }
  }

  *[Symbol.iterator](): Generator<T> {
    const handle = this.open();
    let room = Buffer.alloc(0);
    try {
      for (let index = 0; index < this.length; index++) {
        if (room.length < this.bytesOf(index)) room = Buffer.alloc(2 * this.bytesOf(index));
        yield this.read(handle, index, room);
      }
    } finally {
      closeSync(handle);
    }
  }

  private open(): number {
    const handle = openRegularSync(this.file);
    const { ino, size, mtimeMs } = fstatSync(handle);
    const { entry } = this;
    if (ino === entry.ino && size === entry.size && mtimeMs === entry.mtimeMs) return handle;
    closeSync(handle);
    throw this.changed();
  }

  private bytesOf(index: number): number {
    return this.lines.ends[index] - this.lines.starts[index];
  }

  /** @param room for the bytes of the line */
  private read(handle: number, index: number, room: Buffer): T {
    const { numbers, starts } = this.lines;
    const bytes = room.subarray(0, this.bytesOf(index));
    let numRead;
    try {
      numRead = readSync(handle, bytes, 0, bytes.length, starts[index]);
    } catch (error) {
      throw ioError(error, this.file);
    }
    if (numRead < bytes.length) throw this.changed();
    const place = `${this.file}:${numbers[index]}`;
    return this.parse(parseJsonlLine(bytes, place), place);
  }

  private changed(): VigorlError {
    return new VigorlError("input", `${this.file}: was changed while it was in use`, {
      hint: "put it back as it was, then go on with --resume",
    });
  }
}
