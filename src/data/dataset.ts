/**
 * Data sets in: JSONL and Parquet, by their file name, streamed record by record so that a set
 * larger than memory can be walked. Images are found here and decoded later.
 */
import { dirname } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { indexJsonl, type JsonlIndex } from "../core/jsonl-index.ts";
import type { KindName } from "../task/kinds.ts";
import {
  placedRecord,
  readPlacedRecords,
  type PlacedRecord,
  type TaskRecord,
} from "../task/record.ts";
import type { Records } from "../task/records.ts";
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
  for await (const { record } of openPlaced(source, options)) yield record;
}

/** As `openDataset`, with the place of each record. */
export async function* openPlaced(
  source: string | readonly string[],
  options: DatasetOptions = {},
): AsyncGenerator<PlacedRecord> {
  const limit = options.limit ?? Infinity;
  let count = 0;
  for (const file of typeof source === "string" ? [source] : source) {
    if (count >= limit) return;
    for await (const placed of readerOf(file)(file, options.imageRoot ?? dirname(file))) {
      if (count >= limit) return;
      count++;
      yield placed;
    }
  }
}

/** All records in a list. Ids must differ: reports and traces name records by them. */
export async function readDataset(
  source: string | readonly string[],
  options: DatasetOptions = {},
): Promise<TaskRecord[]> {
  const records: TaskRecord[] = [];
  for await (const { record } of distinctRecords(openPlaced(source, options))) records.push(record);
  return records;
}

/** The records of a file, to be looked at in any order. */
export interface OpenRecords {
  readonly records: Records;
  /** How many of each kind that was not written. */
  readonly guessed: Readonly<Partial<Record<KindName, number>>>;
}

/**
 * As `readDataset` of one file, but that the lines of JSONL are not held: each is read again when it is
 * looked at.
 */
export async function openRecords(
  file: string,
  { imageRoot = dirname(file), limit = Infinity }: DatasetOptions = {},
): Promise<OpenRecords> {
  const guessed: Partial<Record<KindName, number>> = {};
  const refuseTwice = distinctIds();
  const look = (placed: PlacedRecord) => {
    refuseTwice(placed);
    const { kind } = placed.record;
    if (placed.isGuessed === true) guessed[kind] = (guessed[kind] ?? 0) + 1;
  };
  if (file.endsWith(".jsonl")) {
    const parse = (value: unknown, place: string) => placedRecord(value, place, imageRoot);
    const lines = await indexJsonl(file, parse, { limit, onLine: look });
    return { records: recordsOf(lines), guessed };
  }
  const records: TaskRecord[] = [];
  for await (const placed of openPlaced(file, { imageRoot, limit })) {
    look(placed);
    records.push(placed.record);
  }
  return { records, guessed };
}

function recordsOf(lines: JsonlIndex<PlacedRecord>): Records {
  return {
    length: lines.length,
    at: (index) => lines.at(index)?.record,
    *[Symbol.iterator]() {
      for (const { record } of lines) yield record;
    },
  };
}

/** Passes records on as long as their ids differ. @throws VigorlError("input") naming the second */
export async function* distinctRecords(
  records: AsyncIterable<PlacedRecord>,
): AsyncGenerator<PlacedRecord> {
  const refuseTwice = distinctIds();
  for await (const placed of records) {
    refuseTwice(placed);
    yield placed;
  }
}

/** Throws VigorlError("input") at the second record of an id. */
function distinctIds(): (placed: PlacedRecord) => void {
  const ids = new Set<string>();
  return ({ record, place }) => {
    if (ids.has(record.id))
      throw new VigorlError("input", `${place}: two records have the id "${record.id}"`, {
        hint: "give every record an id of its own",
      });
    ids.add(record.id);
  };
}

function readerOf(file: string): (file: string, imageRoot: string) => AsyncGenerator<PlacedRecord> {
  if (file.endsWith(".jsonl")) return readPlacedRecords;
  if (file.endsWith(".parquet")) return readParquetRecords;
  throw new VigorlError("input", `${file}: a data set is a .jsonl or a .parquet file`);
}
