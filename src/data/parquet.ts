/**
 * Records in Parquet files, as Hugging Face keeps image data sets: columns named as the keys of a
 * JSONL line, an image being its bytes, a path, or a struct of both. One row group is in memory at a
 * time. A region answer is a struct, or JSON text.
 */
import { isUtf8 } from "node:buffer";
import { resolve } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { jsonProblem } from "../core/json-text.ts";
import { openParquet } from "./parquet-file.ts";
import {
  fromLine,
  parseRecordLine,
  type ImageSource,
  type PlacedRecord,
  type TaskRecord,
} from "../task/record.ts";

const columnNames = [
  "id",
  "image",
  "images",
  "question",
  "kind",
  "answer",
  "choices",
  "evidence",
  "category",
  "source",
  "facts",
] as const;

/**
 * Streams the records of a Parquet file.
 * @throws VigorlError("input") for a file that is none, an unknown column, or `file: row n`.
 */
export async function* readParquetRecords(
  file: string,
  imageRoot: string,
): AsyncGenerator<PlacedRecord> {
  const { columns, groupRows, column } = await openParquet(file);
  const unknown = columns.filter((name) => !isKnown(name) && !isIndex(name));
  if (unknown.length > 0) {
    throw new VigorlError("input", `${file}: unknown column ${unknown.join(", ")}`, {
      hint: `a data set has the columns ${columnNames.join(", ")}`,
    });
  }
  const twice = columns.find((name, i) => columns.indexOf(name) < i);
  if (twice !== undefined)
    throw new VigorlError("input", `${file}: two columns are called ${twice}`);
  let first = 1;
  for (const [group, numRows] of groupRows.entries()) {
    const cells: (readonly [string, unknown[]])[] = [];
    for (const name of columns.filter(isKnown)) cells.push([name, await column(group, name)]);
    for (let i = 0; i < numRows; i++) {
      const row = new Map(cells.map(([name, values]) => [name, values[i]]));
      const place = `${file}: row ${first + i}`;
      const record = toRecord(place, row, imageRoot, String(first + i));
      yield { record, place, isGuessed: plainValue(row.get("kind")) === undefined };
    }
    first += numRows;
  }
}

function isKnown(name: string): boolean {
  return columnNames.some((known) => known === name);
}

/** The row numbers that pandas writes beside a table. */
function isIndex(name: string): boolean {
  return /^__index_level_\d+__$/.test(name);
}

const bytesSchema = z.instanceof(Uint8Array);
const imageCell = z.union([
  z.string(),
  bytesSchema,
  z.object({ bytes: bytesSchema.nullish(), path: z.string().nullish() }),
]);
const imageCells = z.union([imageCell.transform((cell) => [cell]), z.array(imageCell)]);

function toRecord(
  place: string,
  cellsByName: ReadonlyMap<string, unknown>,
  imageRoot: string,
  number: string,
): TaskRecord {
  const rest: Record<string, unknown> = {};
  for (const name of columnNames) {
    const value = plainValue(cellsByName.get(name));
    if (value === undefined || name === "image" || name === "images") continue;
    rest[name] = value instanceof Uint8Array ? decoded(value, `${place}: ${name}`) : value;
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
    rest.answer = parseJson(
      rest.answer,
      `${place}: answer: kind "point" wants {box}, {point, radius}, {polygon} or {absent: true}`,
    );
  if (typeof rest.evidence === "string")
    rest.evidence = parseJson(
      rest.evidence,
      `${place}: evidence: must be JSON: [{box} or {point}]`,
    );
  if (typeof rest.facts === "string")
    rest.facts = parseJson(rest.facts, `${place}: facts: must be a JSON object`);
  return fromLine(parseRecordLine(place, rest), sources, number);
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

function decoded(bytes: Uint8Array, place: string): string {
  if (isUtf8(bytes)) return Buffer.from(bytes).toString("utf8");
  throw new VigorlError("input", `${place}: is not UTF-8 text`);
}

function parseJson(text: string, problem: string): unknown {
  const odd = jsonProblem(text);
  if (odd !== null) throw new VigorlError("input", `${problem}; it ${odd}`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new VigorlError("input", problem, { cause });
  }
}

/** Nulls away, bigints to numbers, or to their digits where a number cannot hold them. */
function plainValue(value: unknown): unknown {
  if (value === null || value === undefined) return undefined;
  if (typeof value === "bigint")
    return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(plainValue);
  if (typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, entry]) => [key, plainValue(entry)] as const);
  return Object.fromEntries(entries.filter(([, entry]) => entry !== undefined));
}
