/**
 * Data sets in: JSONL and Parquet, by their file name, streamed record by record so that a set
 * larger than memory can be walked. Images are found here and decoded later.
 */
import { dirname } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { readRecords, type TaskRecord } from "../task/record.ts";
import { readParquetRecords } from "./parquet.ts";

export interface DatasetOptions {
  /** Folder that image paths are relative to; default the folder of the file. */
  readonly imageRoot?: string;
  /** Take only so many records from the front. */
  readonly limit?: number;
}

/**
 * Streams the records of one or several files, in order.
 * @throws VigorlError("input") naming file and line (or row) at the first bad record.
 */
export async function* openDataset(
  source: string | readonly string[],
  options: DatasetOptions = {},
): AsyncGenerator<TaskRecord> {
  const limit = options.limit ?? Infinity;
  let count = 0;
  for (const file of typeof source === "string" ? [source] : source) {
    if (count >= limit) return;
    for await (const record of readerOf(file)(file, options.imageRoot ?? dirname(file))) {
      if (count >= limit) return;
      count++;
      yield record;
    }
  }
}

/** All records in a list. Ids must differ: reports and traces name records by them. */
export async function readDataset(
  source: string | readonly string[],
  options: DatasetOptions = {},
): Promise<TaskRecord[]> {
  const records = new Map<string, TaskRecord>();
  for await (const record of openDataset(source, options)) {
    if (records.has(record.id)) {
      throw new VigorlError("input", `${String(source)}: two records have the id "${record.id}"`, {
        hint: "give every record an id of its own",
      });
    }
    records.set(record.id, record);
  }
  return [...records.values()];
}

function readerOf(file: string): (file: string, imageRoot: string) => AsyncGenerator<TaskRecord> {
  if (file.endsWith(".jsonl")) return readRecords;
  if (file.endsWith(".parquet")) return readParquetRecords;
  throw new VigorlError("input", `${file}: a data set is a .jsonl or a .parquet file`);
}
