/** Rows of a JSON file (an array of objects) or of JSON lines. Neither holds pictures. */
import { z } from "zod";
import { parseAt, readJsonlPlaced } from "../../core/jsonl.ts";
import { VigorlError } from "../../core/errors.ts";
import { ioError } from "../../core/files.ts";
import { readJsonFile } from "../../core/json-file.ts";
import { readText } from "../../core/regular-file.ts";
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

/** Rows of a list of objects. @throws VigorlError("input") where it is none */
export async function* jsonListRows(file: string): AsyncGenerator<Row> {
  const list = await readJsonFile(file, z.array(cellsSchema), "it must be a list of objects");
  for (const [i, cells] of list.entries())
    yield { place: `${file}: entry ${i + 1}`, number: i + 1, cells, pictures: () => [] };
}

/** Rows of one array, or the one row that an object is. @throws VigorlError("input") naming `file: row n` */
export async function* jsonRows(file: string): AsyncGenerator<Row> {
  const value = parsed(file, await read(file));
  const rows = Array.isArray(value) ? value : [value];
  for (const [i, row] of rows.entries()) {
    const place = Array.isArray(value) ? `${file}: row ${i + 1}` : file;
    yield { place, number: i + 1, cells: parseAt(place, row, cellsSchema), pictures: () => [] };
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
