/** Rows of a JSON file (an array of objects) or of JSON lines. Neither holds pictures. */
import { z } from "zod";
import { parseAt, readJsonlPlaced } from "../../core/jsonl.ts";
import { VigorlError } from "../../core/errors.ts";
import { ioError } from "../../core/files.ts";
import { readText } from "../../core/regular-file.ts";
import type { Row } from "./row.ts";

const cellsSchema = z.record(z.string(), z.unknown());

/** Streams lines of JSON. @throws VigorlError("input") naming `file:line` */
export async function* jsonlRows(file: string): AsyncGenerator<Row> {
  for await (const { value, place } of readJsonlPlaced(file, cellsSchema))
    yield { place, cells: value, pictures: () => [] };
}

/** Rows of one array, or the one row that an object is. @throws VigorlError("input") naming `file: row n` */
export async function* jsonRows(file: string): AsyncGenerator<Row> {
  const value = parsed(file, await read(file));
  const rows = Array.isArray(value) ? value : [value];
  for (const [i, row] of rows.entries()) {
    const place = Array.isArray(value) ? `${file}: row ${i + 1}` : file;
    yield { place, cells: parseAt(place, row, cellsSchema), pictures: () => [] };
  }
}

async function read(file: string): Promise<string> {
  try {
    return await readText(file);
  } catch (error) {
    throw ioError(error, file);
  }
}

function parsed(file: string, text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (cause) {
    throw new VigorlError("input", `${file}: is no JSON`, { cause });
  }
}
