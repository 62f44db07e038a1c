/**
 * JSON Lines, in and out. Every line that comes in is checked against a schema, and an error names
 * `file:line`; what goes out is whole lines in one write, so that a kill tears the last one at most.
 */
import { isUtf8 } from "node:buffer";
import { existsSync } from "node:fs";
import { appendFile, mkdir, stat, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { problemsOf } from "./config.ts";
import { VigorlError } from "./errors.ts";
import { ioError, writeFileAtomic } from "./files.ts";
import { jsonProblem } from "./json-text.ts";
import { isLfsPointer, lfsPointerError, openRegular } from "./regular-file.ts";

export interface ReadJsonlOptions {
  /** A last line without its newline that does not parse is dropped, as a killed writer leaves it. */
  readonly allowTornLastLine?: boolean;
}

/**
 * Streams the records of `file`, one at a time; empty lines are passed over, a byte order mark too.
 * Throws VigorlError("input") at the first bad line, "io" where the file cannot be read.
 */
export async function* readJsonl<T>(
  file: string,
  schema: z.ZodType<T>,
  options: ReadJsonlOptions = {},
): AsyncGenerator<T> {
  for await (const { value } of readJsonlPlaced(file, schema, options)) yield value;
}

/** A record, and where its line stands. */
export interface PlacedLine<T> {
  readonly value: T;
  /** `file:line`. */
  readonly place: string;
  /** Offsets of the line and behind it, in bytes. */
  readonly start: number;
  readonly end: number;
}

/** As `readJsonl`, with the place of each record. */
export async function* readJsonlPlaced<T>(
  file: string,
  schema: z.ZodType<T>,
  options: ReadJsonlOptions = {},
): AsyncGenerator<PlacedLine<T>> {
  for await (const line of lines(file)) {
    if (line.text.trim() === "") continue;
    const place = `${file}:${line.lineNumber}`;
    let json: unknown;
    try {
      json = parseLine(line, place);
    } catch (error) {
      if (line.torn && options.allowTornLastLine === true) return;
      if (isLfsPointer(line.text)) throw lfsPointerError(file);
      throw error;
    }
    const { startByte: start, endByte: end } = line;
    yield { value: parseAt(place, json, schema), place, start, end };
  }
}

/** All records of `file` in a list; as `readJsonl`. */
export async function readJsonlAll<T>(
  file: string,
  schema: z.ZodType<T>,
  options: ReadJsonlOptions = {},
): Promise<T[]> {
  const records: T[] = [];
  for await (const record of readJsonl(file, schema, options)) records.push(record);
  return records;
}

/** Appends one line per value in a single write. Throws VigorlError("io"). */
export async function appendJsonl(file: string, values: readonly unknown[]): Promise<void> {
  if (values.length === 0) return;
  try {
    await mkdir(dirname(file), { recursive: true });
    await appendFile(file, formatJsonl(values));
  } catch (error) {
    throw ioError(error, file);
  }
}

/**
 * Replaces `file` by one line per value, in one step; values are taken as they are written, so that they
 * need not fit in memory. Throws VigorlError("io").
 */
export async function writeJsonl(
  file: string,
  values: Iterable<unknown> | AsyncIterable<unknown>,
): Promise<void> {
  await writeFileAtomic(file, parts(values));
}

async function* parts(
  values: Iterable<unknown> | AsyncIterable<unknown>,
  linesAtOnce = 512,
): AsyncGenerator<Uint8Array> {
  let part: unknown[] = [];
  for await (const value of values) {
    if (part.push(value) < linesAtOnce) continue;
    yield Buffer.from(formatJsonl(part));
    part = [];
  }
  yield Buffer.from(formatJsonl(part));
}

/**
 * Cuts `file` behind the last line up to which every one satisfies `keep`, and a last line that a kill
 * left without its end. Does nothing where the file is missing. Returns how many lines stayed.
 * @throws VigorlError("input") naming the line where one is no JSON, or what `keep` throws: what stands
 *   behind a damaged line is not ours to throw away
 */
export async function truncateJsonl(
  file: string,
  keep: (value: unknown, place: string) => boolean = () => true,
): Promise<number> {
  const size = await stat(file).then(
    (entry) => entry.size,
    () => undefined,
  );
  if (size === undefined) return 0;
  let bytes = 0;
  let count = 0;
  for await (const line of lines(file)) {
    if (line.torn) break;
    if (line.text.trim() !== "") {
      const place = `${file}:${line.lineNumber}`;
      if (!keep(parseLine(line, place), place)) break;
      count++;
    }
    bytes = line.endByte;
  }
  try {
    if (bytes < size) await truncate(file, bytes);
  } catch (error) {
    throw ioError(error, file);
  }
  return count;
}

/**
 * Brings the lines of `file` into the order of `rankOf`, without those whose rank is null, in one step and
 * line by line, so that the file may be larger than memory; one that stays as it is, is not written. Does
 * nothing where it is missing.
 * @throws VigorlError("input") naming the line where one is no JSON, or what `rankOf` throws; "io"
 */
export async function orderJsonl(
  file: string,
  rankOf: (value: unknown, place: string) => number | null,
): Promise<void> {
  if (!existsSync(file)) return;
  const kept: { rank: number; start: number; end: number }[] = [];
  let isSame = true;
  for await (const line of lines(file)) {
    const place = `${file}:${line.lineNumber}`;
    const rank = rankOf(parseLine(line, place), place);
    if (rank === null || rank < (kept.at(-1)?.rank ?? -Infinity)) isSame = false;
    if (rank !== null) kept.push({ rank, start: line.startByte, end: line.endByte });
  }
  if (isSame) return;
  kept.sort((a, b) => a.rank - b.rank);
  const { handle } = await openRegular(file);
  async function* arranged(): AsyncGenerator<Uint8Array> {
    for (const { start, end } of kept) {
      const bytes = Buffer.alloc(end - start);
      await handle.read(bytes, 0, bytes.length, start);
      yield bytes;
    }
  }
  try {
    await writeFileAtomic(file, arranged());
  } finally {
    await handle.close();
  }
}

/** Parses the bytes of a line that was read before. @throws VigorlError("input") naming its place */
export function parseJsonlLine(bytes: Uint8Array, place: string): unknown {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  return parseLine({ text, isUtf8: isUtf8(bytes), torn: false }, place);
}

function parseLine(
  { text, isUtf8: readable, torn }: Pick<Line, "text" | "isUtf8" | "torn">,
  place: string,
): unknown {
  if (!readable)
    throw new VigorlError("input", `${place}: is not UTF-8`, { hint: "save the file as UTF-8" });
  const problem = jsonProblem(text);
  try {
    const value: unknown = JSON.parse(text);
    if (problem !== null) throw new VigorlError("input", `${place}: ${problem}`);
    return value;
  } catch (cause) {
    if (cause instanceof VigorlError) throw cause;
    const hint = torn
      ? "the last line is cut off; remove it"
      : "each line must be one JSON object; where the file was damaged, restore it from a copy";
    const message = `${place}: not a JSON value: ${(cause as Error).message}`;
    throw new VigorlError("input", message, { hint, cause });
  }
}

/** Flushes a file to the disk and counts its whole lines; 0 where it is missing. */
export async function countLines(file: string): Promise<number> {
  if (!existsSync(file)) return 0;
  const { handle } = await openRegular(file);
  await handle.sync();
  let count = 0;
  for await (const part of handle.createReadStream({ highWaterMark: 1 << 18 }))
    for (let at = -1; (at = (part as Buffer).indexOf(10, at + 1)) >= 0;) count++;
  return count;
}

/** Checks a value against a schema; the message lists what is wrong and where in the value. */
export function parseAt<T>(place: string, value: unknown, schema: z.ZodType<T>): T {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const problems = problemsOf(result.error, schema).slice(0, maxProblems);
  throw new VigorlError("input", `${place}: ${problems.join("; ")}`);
}

/** Problems of one value that are told. */
const maxProblems = 5;

interface Line {
  readonly text: string;
  readonly isUtf8: boolean;
  /** From 1. */
  readonly lineNumber: number;
  /** The last line, and it has no newline. */
  readonly torn: boolean;
  readonly startByte: number;
  /** Offset behind the line and its newline. */
  readonly endByte: number;
}

/** More than any record takes; a file without line ends would else be read into memory whole. */
const maxLineBytes = 1 << 28;

const byteOrderMark = Buffer.from("\ufeff");

async function* lines(file: string): AsyncGenerator<Line> {
  const { handle } = await openRegular(file);
  let parts: Buffer[] = [];
  let numBytes = 0;
  let lineNumber = 0;
  let endByte = 0;
  const line = (end: Buffer, torn: boolean): Line => {
    const bytes = parts.length === 0 ? end : Buffer.concat([...parts, end]);
    const mark = lineNumber === 0 && bytes.subarray(0, 3).equals(byteOrderMark) ? 3 : 0;
    parts = [];
    const startByte = endByte + mark;
    endByte += bytes.length + (torn ? 0 : 1);
    const text = bytes.toString("utf8", mark);
    return { text, isUtf8: isUtf8(bytes), lineNumber: ++lineNumber, torn, startByte, endByte };
  };
  try {
    for await (const chunk of handle.createReadStream({ highWaterMark: 1 << 18 })) {
      const part = chunk as Buffer;
      let start = 0;
      for (let end = part.indexOf(10); end >= 0; end = part.indexOf(10, start)) {
        yield line(part.subarray(start, end), false);
        start = end + 1;
        numBytes = 0;
      }
      if (start < part.length) parts.push(part.subarray(start));
      numBytes += part.length - start;
      if (numBytes > maxLineBytes) {
        const most = maxLineBytes.toLocaleString("en");
        throw new VigorlError("input", `${file}:${lineNumber + 1}: has more than ${most} bytes`, {
          hint: "write one record a line",
        });
      }
    }
  } catch (error) {
    throw ioError(error, file);
  } finally {
    await handle.close();
  }
  if (parts.length > 0) yield line(Buffer.alloc(0), true);
}

function formatJsonl(values: readonly unknown[]): string {
  return values.map((value) => `${JSON.stringify(value)}\n`).join("");
}
