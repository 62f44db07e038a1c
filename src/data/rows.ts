/**
 * The rows of other people's files, one at a time: JSON lines, a JSON list, a table with a header, or
 * Parquet. What the rows mean is for `forms/` to say.
 */
import { extname } from "node:path";
import { parse as csvParser } from "csv-parse";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { readJsonFile } from "../core/json-file.ts";
import { readJsonlPlaced } from "../core/jsonl.ts";
import { openRegular } from "../core/regular-file.ts";
import type { Row } from "./forms/form.ts";
import { openParquet } from "./parquet-file.ts";

/** A row, its number from 1, and its place as errors name it. */
export interface PlacedRow {
  readonly row: Row;
  readonly number: number;
  readonly place: string;
}

const rowSchema = z.record(z.string(), z.unknown());

/** @throws VigorlError("input") naming the place of what cannot be read, "usage" for another extension */
export function openRows(file: string): AsyncGenerator<PlacedRow> {
  const readers: Readonly<Record<string, (file: string) => AsyncGenerator<PlacedRow>>> = {
    ".jsonl": jsonLines,
    ".json": jsonList,
    ".csv": table,
    ".tsv": table,
    ".parquet": parquetRows,
  };
  const reader = readers[extname(file).toLowerCase()];
  if (reader !== undefined) return reader(file);
  throw new VigorlError(
    "usage",
    `${file}: rows are read from ${Object.keys(readers).join(", ")} files`,
  );
}

async function* jsonLines(file: string): AsyncGenerator<PlacedRow> {
  for await (const { value, place } of readJsonlPlaced(file, rowSchema))
    yield { row: value, number: Number(place.slice(file.length + 1)), place };
}

async function* jsonList(file: string): AsyncGenerator<PlacedRow> {
  const list = await readJsonFile(file, z.array(rowSchema), "it must be a list of objects");
  for (const [i, row] of list.entries())
    yield { row, number: i + 1, place: `${file}: entry ${i + 1}` };
}

/** Longest line of a table, embedded pictures included. */
const maxLineBytes = 1 << 26;

async function* table(file: string): AsyncGenerator<PlacedRow> {
  const { handle } = await openRegular(file);
  const parser = csvParser({
    bom: true,
    columns: true,
    delimiter: extname(file).toLowerCase() === ".tsv" ? "\t" : await separatorOf(file),
    info: true,
    max_record_size: maxLineBytes,
    skip_empty_lines: true,
    trim: true,
  });
  const stream = handle.createReadStream();
  stream.on("error", (error) => parser.destroy(error));
  const rows = stream.pipe(parser) as AsyncIterable<{ record: Row; info: { lines: number } }>;
  try {
    let number = 0;
    for await (const { record, info } of rows)
      yield { row: record, number: ++number, place: `${file}:${info.lines}` };
  } catch (cause) {
    if (cause instanceof VigorlError || !(cause instanceof Error)) throw cause;
    throw new VigorlError("input", `${file}: ${cause.message}`, {
      hint: "a table has a header, and as many cells in every row; cells with separators stand in quotes",
      cause,
    });
  } finally {
    stream.destroy();
  }
}

/** A comma, or the semicolon of locales whose decimals have commas, as the header tells. */
async function separatorOf(file: string): Promise<string> {
  const { handle } = await openRegular(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(1 << 14), 0, 1 << 14, 0);
    const [header] = buffer.toString("utf8", 0, bytesRead).split(/\r?\n/, 1);
    const count = (mark: string) => header.split(mark).length;
    return [";", "\t"].find((mark) => count(mark) > count(",")) ?? ",";
  } finally {
    await handle.close();
  }
}

async function* parquetRows(file: string): AsyncGenerator<PlacedRow> {
  const { columns, groupRows, column } = await openParquet(file);
  let number = 0;
  for (const [group, numRows] of groupRows.entries()) {
    const cells: (readonly [string, unknown[]])[] = [];
    for (const name of columns) cells.push([name, await column(group, name)]);
    for (let i = 0; i < numRows; i++) {
      number++;
      const row = Object.fromEntries(cells.map(([name, values]) => [name, plain(values[i])]));
      yield { row, number, place: `${file}: row ${number}` };
    }
  }
}

/** Whole numbers as JavaScript counts them. */
function plain(value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}
