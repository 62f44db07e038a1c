/**
 * The rows of other people's files, one at a time, by the ending of the file's name: JSON lines, a JSON
 * list, a table with a header, or Parquet. Cells are as they stand there, pictures among them; what they
 * mean is for `forms/` to say.
 */
import { extname } from "node:path";
import { VigorlError } from "../../core/errors.ts";
import { csvRows } from "./csv-rows.ts";
import { jsonlRows, jsonRows } from "./json-rows.ts";
import { rawParquetRows } from "./parquet-rows.ts";
import type { Row } from "./row.ts";

const readers: Readonly<Record<string, (file: string) => AsyncGenerator<Row>>> = {
  ".jsonl": jsonlRows,
  ".json": jsonRows,
  ".csv": csvRows,
  ".tsv": csvRows,
  ".parquet": rawParquetRows,
};

/** @throws VigorlError("input") naming the place of what cannot be read, "usage" for another extension */
export function openRows(file: string): AsyncGenerator<Row> {
  const reader = readers[extname(file).toLowerCase()];
  if (reader !== undefined) return reader(file);
  throw new VigorlError(
    "usage",
    `${file}: rows are read from ${Object.keys(readers).join(", ")} files`,
  );
}
