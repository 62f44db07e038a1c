/**
 * A task: images, a question, and an answer that can be checked. The same record for training, search
 * and evaluation, read from JSONL (here), Parquet (`src/data`) or made by a generator. Images are
 * loaded when an episode needs them, so that a data set larger than memory can be walked.
 */
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { parseAt, readJsonl } from "../core/jsonl.ts";
import { decodeImage, type RgbImage } from "../image/decode.ts";
import { answerKinds, type AnswerKind } from "../text/prompts.ts";

/** Where an image comes from; `name` is how errors call it. */
export type ImageSource =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array; readonly name: string }
  | {
      readonly kind: "render";
      readonly name: string;
      readonly render: () => RgbImage | Promise<RgbImage>;
    };

/** A region that the right point lies in: original-image pixels, boxes half-open. */
export type PointTarget =
  | { readonly box: readonly [x0: number, y0: number, x1: number, y1: number] }
  | { readonly point: readonly [x: number, y: number]; readonly radius: number };

export interface TaskRecord {
  readonly id: string;
  /** As the model sees them, in order; coordinates speak of the first. */
  readonly images: readonly ImageSource[];
  readonly question: string;
  readonly kind: AnswerKind;
  /** A region for "point", a text for all others. */
  readonly answer: string | PointTarget;
  /** For "choice": the options' texts, in the order of their letters. */
  readonly choices?: readonly string[];
  /** Reports are broken down by it. */
  readonly category?: string;
  /** The data set that the record comes from. */
  readonly source?: string;
}

/** One line of a data set. `image` or `images` are paths relative to the file, or to `imageRoot`. */
export const recordLineSchema = z
  .strictObject({
    id: z.string().min(1),
    image: z.string().min(1).optional(),
    images: z.array(z.string().min(1)).min(1).optional(),
    question: z.string().min(1),
    kind: z.enum(answerKinds),
    answer: z.union([
      z.string(),
      z.strictObject({ box: z.tuple([z.number(), z.number(), z.number(), z.number()]) }),
      z.strictObject({
        point: z.tuple([z.number(), z.number()]),
        radius: z.number().nonnegative(),
      }),
    ]),
    choices: z.array(z.string().min(1)).min(2).optional(),
    category: z.string().optional(),
    source: z.string().optional(),
  })
  .superRefine((line, context) => {
    for (const problem of problemsOf(line)) context.addIssue({ code: "custom", ...problem });
  });

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
  for await (const line of readJsonl(file, lineWithImage)) {
    yield fromLine(
      line,
      pathsOf(line).map((path) => ({ kind: "path", path: resolve(imageRoot, path) })),
    );
  }
}

/** Checks one line that came from elsewhere than JSONL; `place` names it in errors. */
export function parseRecordLine(place: string, value: unknown): RecordLine {
  return parseAt(place, value, recordLineSchema);
}

/** The record of a checked line, with its images found by the caller. */
export function fromLine(line: RecordLine, images: readonly ImageSource[]): TaskRecord {
  const { id, question, kind, answer, choices, category, source } = line;
  return {
    id,
    images,
    question,
    kind,
    answer,
    ...(choices === undefined ? {} : { choices }),
    ...(category === undefined ? {} : { category }),
    ...(source === undefined ? {} : { source }),
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
          return decodeImage(source.path, { name: `record ${record.id}: ${source.path}` });
        case "bytes":
          return decodeImage(source.bytes, { name: `record ${record.id}: ${source.name}` });
        case "render":
          return source.render();
      }
    }),
  );
}

/** The option that a letter names ("B", "(b)", "B." → 1), or -1. */
export function letterIndex(text: string, numChoices: number): number {
  const match = /^\(?([A-Za-z])[.):]?\)?$/.exec(text.trim());
  if (match === null) return -1;
  const index = match[1].toUpperCase().charCodeAt(0) - 65;
  return index < numChoices ? index : -1;
}

interface Problem {
  readonly path: string[];
  readonly message: string;
}

function problemsOf(line: {
  image?: string | undefined;
  images?: string[] | undefined;
  kind: AnswerKind;
  answer: string | { box: number[] } | { point: number[] };
  choices?: string[] | undefined;
}): Problem[] {
  const out: Problem[] = [];
  if (line.image !== undefined && line.images !== undefined)
    out.push({ path: ["images"], message: "give image or images, not both" });
  const { answer, kind, choices } = line;
  if (kind === "point") {
    if (typeof answer === "string")
      out.push({ path: ["answer"], message: 'kind "point" wants {box} or {point, radius}' });
    else if ("box" in answer && !(answer.box[0] < answer.box[2] && answer.box[1] < answer.box[3]))
      out.push({ path: ["answer", "box"], message: "the box is empty; write [x0, y0, x1, y1]" });
  } else if (typeof answer !== "string") {
    out.push({ path: ["answer"], message: `kind "${kind}" wants a text` });
  } else if (answer.trim() === "") {
    out.push({ path: ["answer"], message: "the answer is empty; every reply would match it" });
  } else if (kind === "number" && Number.isNaN(Number(answer.replaceAll(",", "")))) {
    out.push({ path: ["answer"], message: `"${answer}" is no number; use kind "text"` });
  } else if (kind === "choice" && choices !== undefined && !isChoice(answer, choices)) {
    out.push({ path: ["answer"], message: `"${answer}" is none of the choices` });
  }
  return out;
}

function isChoice(answer: string, choices: readonly string[]): boolean {
  return choices.includes(answer) || letterIndex(answer, choices.length) >= 0;
}
