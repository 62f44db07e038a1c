/** Parquet files out: rows as they come, 64 a row group, beside the file and then in its place. */
import { randomBytes } from "node:crypto";
import { rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { fileWriter, parquetWriteRows } from "hyparquet-writer";
import { ioError } from "../core/files.ts";

export type ParquetSchema = NonNullable<Parameters<typeof parquetWriteRows>[0]["schema"]>;
type ParquetRows = Parameters<typeof parquetWriteRows>[0]["rows"];

/** Writes rows with these columns, in this order. @throws VigorlError("io") and what `rows` throws */
export async function writeParquet(
  file: string,
  columns: readonly string[],
  schema: ParquetSchema,
  rows: ParquetRows,
): Promise<void> {
  const beside = `${resolve(file)}.${randomBytes(4).toString("hex")}.writing`;
  try {
    await parquetWriteRows({
      writer: fileWriter(beside),
      rows,
      columns: columns.map((name) => ({ name })),
      schema: [{ name: "root", num_children: columns.length }, ...schema],
      rowGroupSize: 64,
    });
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true });
    throw ioError(error, file);
  }
}

/** A column of text. */
export function textColumn(
  name: string,
  repetition: "REQUIRED" | "OPTIONAL" = "REQUIRED",
): ParquetSchema[number] {
  return { name, type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: repetition };
}

/** A column of lists. */
export function listColumn(
  name: string,
  element: ParquetSchema,
  repetition: "REQUIRED" | "OPTIONAL" = "REQUIRED",
): ParquetSchema {
  return [
    { name, repetition_type: repetition, converted_type: "LIST", num_children: 1 },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    ...element,
  ];
}

/** An element of a list of pictures: encoded bytes, and a name. */
export const pictureElement: ParquetSchema = [
  { name: "element", repetition_type: "REQUIRED", num_children: 2 },
  { name: "bytes", type: "BYTE_ARRAY", repetition_type: "REQUIRED" },
  textColumn("path"),
];
