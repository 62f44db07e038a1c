/**
 * JSON Lines, in and out. Every line that comes in is checked against a schema, and an error names
 * `file:line`; what goes out is whole lines in one write, so that a kill tears the last one at most.
 */
import { createReadStream } from "node:fs";
import { appendFile, mkdir, stat, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { VigorlError } from "./errors.ts";
import { ioError, writeFileAtomic } from "./files.ts";

export interface ReadJsonlOptions {
  /** A last line without its newline that does not parse is dropped, as a killed writer leaves it. */
  readonly allowTornLastLine?: boolean;
}

/**
 * Streams the records of `file`, one at a time; empty lines are passed over.
 * Throws VigorlError("input") at the first bad line, "io" where the file cannot be read.
 */
export async function* readJsonl<T>(
  file: string,
  schema: z.ZodType<T>,
  options: ReadJsonlOptions = {},
): AsyncGenerator<T> {
  for await (const { text, lineNumber, torn } of lines(file)) {
    if (text.trim() === "") continue;
    const place = `${file}:${lineNumber}`;
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (error) {
      if (torn && options.allowTornLastLine === true) return;
      throw new VigorlError("input", `${place}: not a JSON value: ${(error as Error).message}`, {
        hint: torn ? "the last line is cut off; remove it" : "each line must be one JSON object",
        cause: error,
      });
    }
    yield parseAt(place, json, schema);
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

/** Replaces `file` by one line per value, in one step. Throws VigorlError("io"). */
export async function writeJsonl(file: string, values: readonly unknown[]): Promise<void> {
  await writeFileAtomic(file, formatJsonl(values));
}

/**
 * Cuts `file` behind the last line up to which every one satisfies `keep`; a torn line is cut too.
 * Does nothing where the file is missing. Returns how many lines stayed.
 */
export async function truncateJsonl(
  file: string,
  keep: (value: unknown) => boolean,
): Promise<number> {
  const size = await stat(file).then(
    (entry) => entry.size,
    () => undefined,
  );
  if (size === undefined) return 0;
  let bytes = 0;
  let count = 0;
  for await (const { text, torn, endByte } of lines(file)) {
    if (torn) break;
    try {
      if (text.trim() !== "" && !keep(JSON.parse(text))) break;
    } catch {
      break;
    }
    bytes = endByte;
    count++;
  }
  try {
    if (bytes < size) await truncate(file, bytes);
  } catch (error) {
    throw ioError(error, file);
  }
  return count;
}

/** Checks a value against a schema; the message lists what is wrong and where in the value. */
export function parseAt<T>(place: string, value: unknown, schema: z.ZodType<T>): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const path = issue.path.join(".");
    return path === "" ? issue.message : `${path}: ${issue.message}`;
  });
  throw new VigorlError("input", `${place}: ${problems.join("; ")}`);
}

interface Line {
  readonly text: string;
  /** From 1. */
  readonly lineNumber: number;
  /** The last line, and it has no newline. */
  readonly torn: boolean;
  /** Offset behind the line and its newline. */
  readonly endByte: number;
}

async function* lines(file: string): AsyncGenerator<Line> {
  let rest: Buffer = Buffer.alloc(0);
  let lineNumber = 0;
  let endByte = 0;
  try {
    for await (const part of createReadStream(file, { highWaterMark: 1 << 18 })) {
      rest = rest.length === 0 ? (part as Buffer) : Buffer.concat([rest, part as Buffer]);
      let start = 0;
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10, start)) {
        endByte += end + 1 - start;
        const text = rest.toString("utf8", start, end);
        yield { text, lineNumber: ++lineNumber, torn: false, endByte };
        start = end + 1;
      }
      rest = rest.subarray(start);
    }
  } catch (error) {
    throw ioError(error, file);
  }
  if (rest.length > 0) {
    endByte += rest.length;
    yield { text: rest.toString("utf8"), lineNumber: ++lineNumber, torn: true, endByte };
  }
}

function formatJsonl(values: readonly unknown[]): string {
  return values.map((value) => `${JSON.stringify(value)}\n`).join("");
}
