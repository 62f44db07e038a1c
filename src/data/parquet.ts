/**
 * Records in Parquet files, as Hugging Face keeps image data sets: columns named as the keys of a
 * JSONL line, an image being its bytes, a path, or a struct of both. One row group is in memory at a
 * time. A region answer is a struct, or JSON text.
 */
import { rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import {
  asyncBufferFromFile,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { fileWriter, parquetWriteRows } from "hyparquet-writer";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { ioError } from "../core/files.ts";
import { fromLine, parseRecordLine, type ImageSource, type TaskRecord } from "../task/record.ts";

const columnNames = [
  "id",
  "image",
  "images",
  "question",
  "kind",
  "answer",
  "choices",
  "category",
  "source",
] as const;

/**
 * Streams the records of a Parquet file.
 * @throws VigorlError("input") for a file that is none, an unknown column, or `file: row n`.
 */
export async function* readParquetRecords(
  file: string,
  imageRoot: string,
): AsyncGenerator<TaskRecord> {
  const { buffer, metadata } = await open(file);
  const unknown = parquetSchema(metadata)
    .children.map((child) => child.element.name)
    .filter((name) => !columnNames.some((known) => known === name));
  if (unknown.length > 0) {
    throw new VigorlError("input", `${file}: unknown column ${unknown.join(", ")}`, {
      hint: `a data set has the columns ${columnNames.join(", ")}`,
    });
  }
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const rows: unknown[] = await parquetReadObjects({
      file: buffer,
      metadata,
      rowStart,
      rowEnd,
      compressors,
      utf8: false,
    });
    for (const [i, row] of rows.entries())
      yield toRecord(`${file}: row ${rowStart + i + 1}`, row, imageRoot);
    rowStart = rowEnd;
  }
}

/** One record ready to be written: a line's keys, and its images as encoded bytes. */
export interface ParquetRow {
  readonly id: string;
  readonly images: readonly { readonly bytes: Uint8Array; readonly path: string }[];
  readonly question: string;
  readonly kind: string;
  readonly answer: string;
  readonly choices: readonly string[] | null;
  readonly category: string | null;
  readonly source: string | null;
}

/** Writes rows as they come, 64 a row group, beside the file and then in its place. */
export async function writeParquetRows(
  file: string,
  rows: AsyncIterable<ParquetRow>,
): Promise<void> {
  const beside = `${resolve(file)}.writing`;
  try {
    await parquetWriteRows({
      writer: fileWriter(beside),
      rows,
      columns: ROW_COLUMNS.map((name) => ({ name })),
      schema: ROW_SCHEMA,
      rowGroupSize: 64,
    });
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true });
    throw ioError(error, file);
  }
}

const ROW_COLUMNS = [
  "id",
  "images",
  "question",
  "kind",
  "answer",
  "choices",
  "category",
  "source",
] as const;

const ROW_SCHEMA: NonNullable<Parameters<typeof parquetWriteRows>[0]["schema"]> = [
  { name: "root", num_children: ROW_COLUMNS.length },
  text("id", "REQUIRED"),
  { name: "images", repetition_type: "REQUIRED", converted_type: "LIST", num_children: 1 },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  { name: "element", repetition_type: "REQUIRED", num_children: 2 },
  { name: "bytes", type: "BYTE_ARRAY", repetition_type: "REQUIRED" },
  text("path", "REQUIRED"),
  text("question", "REQUIRED"),
  text("kind", "REQUIRED"),
  text("answer", "REQUIRED"),
  { name: "choices", repetition_type: "OPTIONAL", converted_type: "LIST", num_children: 1 },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  text("element", "REQUIRED"),
  text("category", "OPTIONAL"),
  text("source", "OPTIONAL"),
];

function text(name: string, repetition: "REQUIRED" | "OPTIONAL") {
  return {
    name,
    type: "BYTE_ARRAY",
    converted_type: "UTF8",
    repetition_type: repetition,
  } as const;
}

async function open(file: string) {
  try {
    const buffer = await asyncBufferFromFile(file);
    return { buffer, metadata: await parquetMetadataAsync(buffer) };
  } catch (error) {
    const io = ioError(error, file);
    if (io instanceof VigorlError) throw io;
    throw new VigorlError("input", `${file}: not a Parquet file`, { cause: error });
  }
}

const utf8 = new TextDecoder();
const bytesSchema = z.instanceof(Uint8Array);
const imageCell = z.union([
  z.string(),
  bytesSchema,
  z.object({ bytes: bytesSchema.nullish(), path: z.string().nullish() }),
]);
const imageCells = z.union([imageCell.transform((cell) => [cell]), z.array(imageCell)]);

function toRecord(place: string, row: unknown, imageRoot: string): TaskRecord {
  const cellsByName = new Map(Object.entries(row as object));
  const rest: Record<string, unknown> = {};
  for (const name of columnNames) {
    const value = plainValue(cellsByName.get(name));
    if (value === undefined || name === "image" || name === "images") continue;
    rest[name] = value instanceof Uint8Array ? utf8.decode(value) : value;
  }
  const cells = imageCells.safeParse(
    plainValue(cellsByName.get("images") ?? cellsByName.get("image")),
  );
  if (!cells.success) {
    throw new VigorlError("input", `${place}: no image that can be read`, {
      hint: "an image is its bytes, a path, or a struct {bytes, path}",
    });
  }
  const sources = cells.data.map((cell, i) => toSource(place, cell, i, imageRoot));
  if (rest.kind === "point" && typeof rest.answer === "string")
    rest.answer = parseRegion(place, rest.answer);
  return fromLine(parseRecordLine(place, rest), sources);
}

function toSource(
  place: string,
  cell: z.infer<typeof imageCell>,
  index: number,
  imageRoot: string,
): ImageSource {
  if (typeof cell === "string") return { kind: "path", path: resolve(imageRoot, cell) };
  const name = `image ${index + 1}`;
  if (cell instanceof Uint8Array) return { kind: "bytes", bytes: cell, name };
  if (cell.bytes) return { kind: "bytes", bytes: cell.bytes, name: cell.path ?? name };
  if (cell.path) return { kind: "path", path: resolve(imageRoot, cell.path) };
  throw new VigorlError("input", `${place}: ${name} has neither bytes nor a path`);
}

function parseRegion(place: string, answer: string): unknown {
  try {
    return JSON.parse(answer);
  } catch (error) {
    throw new VigorlError(
      "input",
      `${place}: answer: kind "point" wants {box} or {point, radius}`,
      {
        cause: error,
      },
    );
  }
}

/** Nulls away, bigints to numbers. */
function plainValue(value: unknown): unknown {
  if (value === null || value === undefined) return undefined;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(plainValue);
  if (typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, entry]) => [key, plainValue(entry)] as const);
  return Object.fromEntries(entries.filter(([, entry]) => entry !== undefined));
}
