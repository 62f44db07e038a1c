/**
 * The thread that decodes Parquet. Its decoder believes what a file says of itself: a flipped bit can
 * have it fill gigabytes or go round for ever, which nothing in the same thread could stop. So it works
 * here, where `parquet-file.ts` bounds its memory and its time.
 */
import { parentPort } from "node:worker_threads";
import {
  asyncBufferFromFile,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type Compressors,
  type FileMetaData,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";

/** What is asked of the thread: the layout of a file, or one column of one row group. */
export type PagesRequest =
  | { readonly kind: "layout"; readonly file: string }
  | {
      readonly kind: "column";
      readonly file: string;
      readonly rowStart: number;
      readonly rowEnd: number;
      readonly column: string;
    };

/** Names of the columns, and how many rows each row group has. */
export interface Layout {
  readonly columns: readonly string[];
  readonly groupRows: readonly number[];
}

export type PagesReply = { readonly value: unknown } | { readonly error: string };

/** A page may be this large, or four times its compressed form. */
const pageBytes = 1 << 26;

const bounded: Compressors = Object.fromEntries(
  Object.entries(compressors).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, outputLength: number) => {
      if (!(outputLength <= Math.max(pageBytes, 4 * input.length)))
        throw new Error(`a page of ${input.length} bytes that is said to hold ${outputLength}`);
      return decompress(input, outputLength);
    },
  ]),
);

interface Opened {
  readonly file: string;
  readonly buffer: Awaited<ReturnType<typeof asyncBufferFromFile>>;
  readonly metadata: FileMetaData;
}

let opened: Opened | undefined;

async function open(file: string): Promise<Opened> {
  const buffer = await asyncBufferFromFile(file);
  return (opened = { file, buffer, metadata: await parquetMetadataAsync(buffer) });
}

async function layout(file: string): Promise<Layout> {
  const { metadata } = await open(file);
  return {
    columns: parquetSchema(metadata).children.map(({ element }) => element.name),
    groupRows: metadata.row_groups.map((group) => Number(group.num_rows)),
  };
}

async function column(request: Extract<PagesRequest, { kind: "column" }>): Promise<unknown[]> {
  const { file, rowStart, rowEnd, column: name } = request;
  const { buffer, metadata } = opened?.file === file ? opened : await open(file);
  const rows: Record<string, unknown>[] = await parquetReadObjects({
    file: buffer,
    metadata,
    rowStart,
    rowEnd,
    columns: [name],
    compressors: bounded,
    utf8: false,
  });
  return rows.map((row) => row[name]);
}

/** Buffers under a value, which are handed over instead of being copied. */
function buffersOf(value: unknown, found = new Set<ArrayBuffer>()): Set<ArrayBuffer> {
  if (value instanceof Uint8Array) {
    if (value.buffer instanceof ArrayBuffer) found.add(value.buffer);
  } else if (Array.isArray(value)) for (const entry of value) buffersOf(entry, found);
  else if (typeof value === "object" && value !== null)
    for (const entry of Object.values(value)) buffersOf(entry, found);
  return found;
}

async function answer(request: PagesRequest): Promise<void> {
  try {
    const value = request.kind === "layout" ? await layout(request.file) : await column(request);
    parentPort?.postMessage({ value } satisfies PagesReply, [...buffersOf(value)]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    parentPort?.postMessage({ error: message } satisfies PagesReply);
  }
}

// What the decoder rejects behind its caller's back has been told by the answer.
process.on("unhandledRejection", () => undefined);
parentPort?.on("message", (request: PagesRequest) => void answer(request));
