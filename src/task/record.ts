/**
 * A task: images, a question, and an answer that can be checked. The same record for training, search
 * and evaluation, read from JSONL (here), Parquet (`src/data`) or made by a generator. Images are
 * loaded when an episode needs them, so that a data set larger than memory can be walked.
 */
import { programName } from "../core/paths.ts";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { parseAt, readJsonlPlaced } from "../core/jsonl.ts";
import { decodeImage, type RgbImage } from "../image/decode.ts";
import type { ReadingName } from "../image/reading.ts";
import { guessRecordKind } from "./guess-kind.ts";
import { kindNames, truthProblem, type KindName, type Truth } from "./kinds.ts";

/** Where an image comes from; `name` is how errors call it, `reading` by whose rules a file is read. */
export type ImageSource =
  | { readonly kind: "path"; readonly path: string; readonly reading?: ReadingName }
  | {
      readonly kind: "bytes";
      readonly bytes: Uint8Array;
      readonly name: string;
      readonly reading?: ReadingName;
    }
  /** Bytes that lie inside a larger file and are read when they are needed. */
  | {
      readonly kind: "stored";
      readonly name: string;
      readonly read: () => Promise<Uint8Array>;
      readonly reading?: ReadingName;
    }
  | {
      readonly kind: "render";
      readonly name: string;
      readonly render: () => RgbImage | Promise<RgbImage>;
    };

/** A place in an image of a record: original-image pixels, boxes half-open. */
export type EvidencePlace =
  | { readonly box: readonly [x0: number, y0: number, x1: number, y1: number] }
  | { readonly point: readonly [x: number, y: number] };

export interface TaskRecord {
  readonly id: string;
  /** As the model sees them, in order; coordinates speak of the first. */
  readonly images: readonly ImageSource[];
  readonly question: string;
  readonly kind: KindName;
  /** The truth, in the form that its kind says. */
  readonly answer: Truth;
  /** The options' texts, in the order of their letters, where the question lists some. */
  readonly choices?: readonly string[];
  /** Where in the first image the answer can be read, in the order in which one would look. */
  readonly evidence?: readonly EvidencePlace[];
  /** Reports are broken down by it. */
  readonly category?: string;
  /** The task of the recipe that it is asked in. */
  readonly task?: string;
  /** The data set that the record comes from. */
  readonly source?: string;
  /** What the scoring of a published benchmark knows besides; plain JSON. */
  readonly facts?: Facts;
}

export type Facts = Readonly<Record<string, unknown>>;

/** A record, and where it stands: `file:line`, or `file: row n`. */
export interface PlacedRecord {
  readonly record: TaskRecord;
  readonly place: string;
  /** Its kind was not written, and is what its words tell. */
  readonly isGuessed?: boolean;
}

/**
 * What other programs write for nothing (`null` in keys that may be left out) is nothing; a number for
 * the answer of a kind that counts, or of a question whose kind is open, is its text.
 */
function tidy(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).filter(
    ([key, entry]) => entry !== null || required.has(key),
  );
  const line: Record<string, unknown> = Object.fromEntries(entries);
  const counts = line.kind === "number" || line.kind === undefined;
  if (counts && isExact(line.answer)) line.answer = String(line.answer);
  return line;
}

/** More digits than a parser keeps may have been others. */
function isExact(value: unknown): value is number {
  return typeof value === "number" && String(value).replaceAll(/\D/g, "").length <= 15;
}

const required: ReadonlySet<string> = new Set(["id", "question", "kind", "answer"]);

const evidencePlace = z.union([
  z.strictObject({ box: z.tuple([z.number(), z.number(), z.number(), z.number()]).readonly() }),
  z.strictObject({ point: z.tuple([z.number(), z.number()]).readonly() }),
]);

/** A lone surrogate is a half that no file or tokenizer can hold: it would silently become another. */
const text = z
  .string()
  .refine((value) => !/\p{Cs}/u.test(value), "holds half of a character (a lone surrogate)");

/**
 * One line of a data set. `image` or `images` are paths relative to the file, or to `imageRoot`. A line
 * without an id is called by its number, one without a kind has the one that its words tell.
 */
export const recordLineSchema = z.preprocess(
  tidy,
  z
    .strictObject({
      id: text.min(1).optional(),
      image: text.min(1).optional(),
      images: z.array(text.min(1)).min(1).optional(),
      question: text.min(1),
      kind: z.enum(kindNames).optional(),
      answer: z.custom<Truth>(isTruth, {
        error: ({ input }) =>
          input === undefined || input === null
            ? "is missing"
            : `must be text in quotes: "${JSON.stringify(input)}"`,
      }),
      choices: z.array(text.min(1)).min(2).optional(),
      evidence: z.array(evidencePlace).min(1).optional(),
      category: text.optional(),
      source: text.optional(),
      facts: z.record(z.string(), z.unknown()).optional(),
    })
    .superRefine((line, context) => {
      if (line.image !== undefined && line.images !== undefined)
        context.addIssue({
          code: "custom",
          path: ["images"],
          message: "give image or images, not both",
        });
      const problem = truthProblem({ ...line, kind: line.kind ?? guessRecordKind(line) });
      if (problem !== null)
        context.addIssue({
          code: "custom",
          path: ["answer", ...(problem.path ?? [])],
          message: problem.message,
        });
    }),
);

/** Numbers and truth values are texts that lack their quotes. */
function isTruth(value: unknown): boolean {
  return typeof value === "string" || (typeof value === "object" && value !== null);
}

export type RecordLine = z.infer<typeof recordLineSchema>;

const lineWithImage = recordLineSchema.refine(
  (line) => line.image !== undefined || line.images !== undefined,
  "no image or images",
);

/**
 * Streams the records of a JSONL file.
 * @throws VigorlError("input") naming `file:line` at the first bad line.
 */
export async function* readRecords(
  file: string,
  imageRoot: string = dirname(file),
): AsyncGenerator<TaskRecord> {
  for await (const { record } of readPlacedRecords(file, imageRoot)) yield record;
}

/** As `readRecords`, with places. */
export async function* readPlacedRecords(
  file: string,
  imageRoot: string,
): AsyncGenerator<PlacedRecord> {
  for await (const { value, place } of readJsonlPlaced(file, z.unknown()))
    yield placedRecord(value, place, imageRoot);
}

/** The record of a line of a JSONL file. @throws VigorlError("input") naming its place, `file:line` */
export function placedRecord(value: unknown, place: string, imageRoot: string): PlacedRecord {
  const line = checkedLine(place, value);
  const images = pathsOf(line).map((path): ImageSource => {
    return { kind: "path", path: resolve(imageRoot, path) };
  });
  const number = place.slice(place.lastIndexOf(":") + 1);
  return { record: fromLine(line, images, number), place, isGuessed: line.kind === undefined };
}

/** @throws VigorlError("input") that says what is wrong with a line, and where other forms are read */
function checkedLine(place: string, value: unknown): RecordLine {
  try {
    return parseAt(place, value, lineWithImage);
  } catch (error) {
    const isForeign = typeof value === "object" && foreignKeys.some((key) => key in (value ?? {}));
    if (!isForeign || !(error instanceof VigorlError)) throw error;
    const hint = `lines in a form of other programs become ours by ${programName} data import`;
    throw new VigorlError("input", error.message, { hint, cause: error });
  }
}

const foreignKeys = ["problem", "solution", "conversations", "messages", "prompt", "query"];

/** Checks one line that came from elsewhere than JSONL; `place` names it in errors. */
export function parseRecordLine(place: string, value: unknown): RecordLine {
  return parseAt(place, value, recordLineSchema);
}

/** The record of a checked line, with its images found by the caller; `id` names one that has none. */
export function fromLine(line: RecordLine, images: readonly ImageSource[], id: string): TaskRecord {
  const { question, answer, choices, evidence, category, source, facts } = line;
  return {
    id: line.id ?? id,
    images,
    question,
    kind: line.kind ?? guessRecordKind(line),
    answer,
    ...(choices === undefined ? {} : { choices }),
    ...(evidence === undefined ? {} : { evidence }),
    ...(category === undefined ? {} : { category }),
    ...(source === undefined ? {} : { source }),
    ...(facts === undefined ? {} : { facts }),
  };
}

/** The line of a record whose images lie at `paths`. */
export function toLine(record: TaskRecord, paths: readonly string[]): RecordLine {
  const { id, images: _, ...rest } = record;
  const place = paths.length === 1 ? { image: paths[0] } : { images: [...paths] };
  const value = { id, ...place, ...rest };
  return parseRecordLine(`record ${record.id}`, value);
}

/** Image paths of a line, as written. */
export function pathsOf(line: RecordLine): readonly string[] {
  return line.images ?? (line.image === undefined ? [] : [line.image]);
}

function readBy({ reading }: { readonly reading?: ReadingName }): { reading?: ReadingName } {
  return reading === undefined ? {} : { reading };
}

/** A record whose files are read by somebody's rules. */
export function withReading(record: TaskRecord, reading: ReadingName | undefined): TaskRecord {
  if (reading === undefined) return record;
  const images = record.images.map((source) =>
    source.kind === "render" ? source : { ...source, reading },
  );
  return { ...record, images };
}

/**
 * Decodes or renders the images of a record.
 * @throws VigorlError("input") naming record and image when one is missing or broken.
 */
export async function loadImages(record: TaskRecord): Promise<RgbImage[]> {
  if (record.images.length === 0)
    throw new VigorlError("input", `record ${record.id}: it has no image`);
  return Promise.all(
    record.images.map(async (source) => {
      switch (source.kind) {
        case "path":
          return decodeImage(source.path, {
            name: `record ${record.id}: ${source.path}`,
            ...readBy(source),
            relativeTo: "the folder of the dataset, or at --images",
          });
        case "bytes":
          return decodeImage(source.bytes, {
            name: `record ${record.id}: ${source.name}`,
            ...readBy(source),
          });
        case "stored": {
          const name = `record ${record.id}: ${source.name}`;
          return decodeImage(await source.read(), { name, ...readBy(source) });
        }
        case "render":
          return source.render();
      }
    }),
  );
}
