/**
 * Data sets out: JSONL with images beside it, or Parquet with images inside. What is written reads
 * back as the same records.
 */
import { mkdir, readFile } from "node:fs/promises";
import { dirname, extname, relative, resolve } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { hashText, ioError, writeFileAtomic } from "../core/files.ts";
import { inside, nameFrom } from "../core/inside.ts";
import { writeJsonl } from "../core/jsonl.ts";
import { encodePng } from "../image/decode.ts";
import { formatOf } from "../image/formats.ts";
import { toLine, type ImageSource, type RecordLine, type TaskRecord } from "../task/record.ts";
import {
  listColumn,
  pictureElement,
  textColumn,
  writeParquet,
  type ParquetSchema,
} from "./parquet-write.ts";

export interface WriteOptions {
  /**
   * "copy" puts every image into `images/` beside a JSONL file, each once; "reference" writes the
   * paths of images that are files already. Parquet always holds the bytes.
   */
  readonly images: "copy" | "reference";
}

/**
 * Writes records to a .jsonl or .parquet file, which appears only when it is complete.
 * Returns how many. @throws VigorlError("input") for a broken image, "io" when the disk refuses.
 */
export async function writeDataset(
  file: string,
  records: Iterable<TaskRecord> | AsyncIterable<TaskRecord>,
  options: WriteOptions,
): Promise<number> {
  await mkdir(dirname(resolve(file)), { recursive: true }).catch((error: unknown) => {
    throw ioError(error, file);
  });
  if (file.endsWith(".jsonl")) return writeLines(file, records, options);
  if (file.endsWith(".parquet")) return writeRows(file, records);
  throw new VigorlError("usage", `${file}: a data set is written as .jsonl or .parquet`);
}

async function writeLines(
  file: string,
  records: Iterable<TaskRecord> | AsyncIterable<TaskRecord>,
  { images }: WriteOptions,
): Promise<number> {
  const folder = dirname(resolve(file));
  const written = new Set<string>();
  const lines: RecordLine[] = [];
  for await (const record of records) {
    const paths: string[] = [];
    for (const source of record.images) {
      if (images === "reference" && source.kind === "path") {
        paths.push(relative(folder, source.path));
        continue;
      }
      const { bytes, extension } = await encoded(record, source);
      const file = inside(folder, "images", `${hashText(bytes).slice(0, 32)}${extension}`);
      if (!written.has(file)) await writeFileAtomic(file, bytes);
      written.add(file);
      paths.push(relative(folder, file));
    }
    lines.push(toLine(record, paths));
  }
  await writeJsonl(file, lines);
  return lines.length;
}

async function writeRows(
  file: string,
  records: Iterable<TaskRecord> | AsyncIterable<TaskRecord>,
): Promise<number> {
  let count = 0;
  const [all, hasFacts] = await peeked(records, ({ facts }) => facts !== undefined);
  async function* rows() {
    for await (const record of all) {
      count++;
      const images: { bytes: Uint8Array; path: string }[] = [];
      for (const [i, source] of record.images.entries()) {
        const { bytes, extension } = await encoded(record, source);
        images.push({ bytes, path: `${nameFrom(record.id)}-${i + 1}${extension}` });
      }
      const { answer } = record;
      yield {
        id: record.id,
        images,
        question: record.question,
        kind: record.kind,
        answer: typeof answer === "string" ? answer : JSON.stringify(answer),
        choices: record.choices ?? null,
        evidence: record.evidence === undefined ? null : JSON.stringify(record.evidence),
        category: record.category ?? null,
        source: record.source ?? null,
        ...(hasFacts ? { facts: JSON.stringify(record.facts ?? {}) } : {}),
      };
    }
  }
  const columns = hasFacts ? [...COLUMNS, "facts"] : COLUMNS;
  await writeParquet(file, columns, hasFacts ? [...SCHEMA, textColumn("facts")] : SCHEMA, rows());
  return count;
}

/** The same records, and what holds of the first of them. */
async function peeked(
  records: Iterable<TaskRecord> | AsyncIterable<TaskRecord>,
  holds: (record: TaskRecord) => boolean,
): Promise<[AsyncIterable<TaskRecord>, boolean]> {
  async function* each() {
    yield* records;
  }
  const rest = each();
  const first = await rest.next();
  async function* all() {
    if (first.done !== true) yield first.value;
    yield* rest;
  }
  return [all(), first.done !== true && holds(first.value)];
}

const SCHEMA: ParquetSchema = [
  textColumn("id"),
  ...listColumn("images", pictureElement),
  textColumn("question"),
  textColumn("kind"),
  textColumn("answer"),
  ...listColumn("choices", [textColumn("element")], "OPTIONAL"),
  textColumn("evidence", "OPTIONAL"),
  textColumn("category", "OPTIONAL"),
  textColumn("source", "OPTIONAL"),
];

const COLUMNS = [
  "id",
  "images",
  "question",
  "kind",
  "answer",
  "choices",
  "evidence",
  "category",
  "source",
];

/** An image file's bytes as they are; a drawn image as PNG. */
async function encoded(
  record: TaskRecord,
  source: ImageSource,
): Promise<{ bytes: Uint8Array; extension: string }> {
  switch (source.kind) {
    case "render":
      return { bytes: await encodePng(await source.render()), extension: ".png" };
    case "bytes":
      return { bytes: source.bytes, extension: extname(source.name) || extensionOf(source.bytes) };
    case "stored":
      return { bytes: await source.read(), extension: extname(source.name) };
    case "path":
      try {
        return { bytes: await readFile(source.path), extension: extname(source.path) };
      } catch (cause) {
        throw new VigorlError("input", `record ${record.id}: ${source.path}: image not found`, {
          cause,
        });
      }
  }
}

/** By what the bytes are; none where they are no image, which the reader will say. */
function extensionOf(bytes: Uint8Array): string {
  const format = formatOf(bytes);
  return format === null ? "" : `.${format.toLowerCase()}`;
}
