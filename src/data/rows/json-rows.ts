/** Rows of a JSON file or of JSON lines. Neither holds pictures. */
import { z } from "zod";
import { parseAt, readJsonlPlaced } from "../../core/jsonl.ts";
import { readJsonFile } from "../../core/json-file.ts";
import type { Row } from "./row.ts";

const cellsSchema = z.record(z.string(), z.unknown());

/** Streams lines of JSON. @throws VigorlError("input") naming `file:line` */
export async function* jsonlRows(file: string): AsyncGenerator<Row> {
  for await (const { value, place } of readJsonlPlaced(file, cellsSchema))
    yield { place, number: numberOf(file, place), cells: value, pictures: () => [] };
}

function numberOf(file: string, place: string): number {
  return Number(place.slice(file.length + 1));
}

/**
 * Rows of a list of objects, or the one row that an object is.
 * @throws VigorlError("input") naming `file: row n`
 */
export async function* jsonRows(file: string): AsyncGenerator<Row> {
  const value = await readJsonFile(file, z.unknown(), "rows are a list of objects");
  const rows = Array.isArray(value) ? value : [value];
  for (const [i, row] of rows.entries()) {
    const place = Array.isArray(value) ? `${file}: row ${i + 1}` : file;
    yield { place, number: i + 1, cells: parseAt(place, row, cellsSchema), pictures: () => [] };
  }
}
