/**
 * Other people's datasets as ours: every row becomes a record or is named with the reason why it was
 * left out, and what was mapped to what, guessed and not kept is counted, so that it can be said.
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { readJsonFile } from "../core/json-file.ts";
import { problemsOf } from "../core/config.ts";
import { fromLine, recordLineSchema, type ImageSource, type TaskRecord } from "../task/record.ts";
import { guessRecordKind } from "../task/guess-kind.ts";
import { listedChoices } from "./listed-choices.ts";
import { cocoSchema, readCoco, type CocoQuestion } from "./forms/coco.ts";
import type { Draft, ImageCell } from "./forms/form.ts";
import { forms, type FormName } from "./forms/table.ts";
import { openRows } from "./rows/open-rows.ts";

export interface ImportFileOptions {
  /** Folder that image paths are relative to. */
  readonly imageRoot: string;
  /** What all answers are; by default what each row says, or its words tell. */
  readonly kind?: string;
}

/** What became of a file. Counts are of rows. */
export interface ImportedFile {
  readonly records: readonly TaskRecord[];
  readonly dropped: readonly { readonly line: number; readonly reason: string }[];
  /** `problem → question`. */
  readonly mapped: Readonly<Record<string, number>>;
  /** What was changed on the way. */
  readonly notes: Readonly<Record<string, number>>;
  readonly guessedKinds: Readonly<Record<string, number>>;
  /** Fields that no record keeps. */
  readonly droppedFields: Readonly<Record<string, number>>;
}

/** Imports a file of rows. @throws VigorlError("input" | "io" | "usage") where it cannot be read */
export async function importRows(
  file: string,
  form: FormName,
  options: ImportFileOptions,
): Promise<ImportedFile> {
  const tally = new Tally(options);
  for await (const { cells: row, number } of openRows(file)) {
    const read = forms[form].read(row);
    if ("reason" in read) {
      tally.drop(number, read.reason);
      continue;
    }
    const { used, drafts, notes } = read;
    for (const [key, ours] of Object.entries(used)) tally.note("mapped", `${key} → ${ours}`);
    for (const key of Object.keys(row)) {
      const isEmpty = row[key] === null || row[key] === undefined || row[key] === "";
      if (!isEmpty && !Object.hasOwn(used, key)) tally.note("droppedFields", key);
    }
    for (const words of notes) tally.note("notes", words);
    for (const [i, draft] of drafts.entries())
      tally.take(number, drafts.length === 1 ? `${number}` : `${number}#${i + 1}`, draft);
  }
  return tally;
}

/** Imports annotations in the form of COCO; `line` of what was dropped counts its questions. */
export async function importCoco(
  file: string,
  ask: CocoQuestion,
  options: ImportFileOptions,
): Promise<ImportedFile> {
  const hint = "COCO's annotations are one JSON object with images, annotations and categories";
  const coco = await readJsonFile(file, cocoSchema, hint);
  const tally = new Tally(options);
  let number = 0;
  for (const draft of readCoco(coco, ask)) {
    number++;
    if ("reason" in draft) tally.drop(number, draft.reason);
    else tally.take(number, String(number), draft);
  }
  const mapped = { click: "categories and bbox → question, answer", count: "annotations → answer" };
  tally.note("mapped", mapped[ask], tally.records.length);
  return tally;
}

class Tally implements ImportedFile {
  readonly records: TaskRecord[] = [];
  readonly dropped: { line: number; reason: string }[] = [];
  readonly mapped: Record<string, number> = {};
  readonly notes: Record<string, number> = {};
  readonly guessedKinds: Record<string, number> = {};
  readonly droppedFields: Record<string, number> = {};
  private readonly ids = new Set<string>();
  private readonly options: ImportFileOptions;

  constructor(options: ImportFileOptions) {
    this.options = options;
  }

  drop(line: number, reason: string): void {
    this.dropped.push({ line, reason });
  }

  note(what: "mapped" | "notes" | "guessedKinds" | "droppedFields", words: string, by = 1): void {
    this[what][words] = (this[what][words] ?? 0) + by;
  }

  /** Takes a draft as a record, called by its row where it has no id of its own. */
  take(line: number, rowId: string, draft: Draft): void {
    const images = draft.images.map((cell) => imageOf(cell, this.options.imageRoot));
    const fault = images.find((image) => typeof image === "string");
    if (fault !== undefined) return this.drop(line, fault);
    const isRepeated = draft.id !== undefined && this.ids.has(draft.id);
    const { images: _, kind: written, ...rest } = draft;
    const listed = rest.choices ?? listedChoices(rest.question);
    const choices = isAnswer(rest.answer, listed) ? { choices: listed } : {};
    const kind = this.options.kind ?? written;
    const asked = { ...rest, ...choices, ...(kind === undefined ? {} : { kind }) };
    const checked = recordLineSchema.safeParse(
      { ...asked, id: draft.id === undefined || isRepeated ? rowId : draft.id },
      { reportInput: true },
    );
    if (!checked.success)
      return this.drop(line, problemsOf(checked.error, recordLineSchema).join("; "));
    const record = fromLine(checked.data, images as ImageSource[], rowId);
    if (this.ids.has(record.id))
      return this.drop(line, `a second record with the id "${record.id}"`);
    if (isRepeated) this.note("notes", "ids that come twice, called by their row");
    if (kind === undefined) this.note("guessedKinds", guessRecordKind(checked.data));
    this.ids.add(record.id);
    this.records.push(record);
  }
}

/** Options that a question lists are its choices where the answer is one of them. */
function isAnswer(answer: unknown, choices: readonly string[]): boolean {
  if (choices.length < 2 || typeof answer !== "string") return false;
  return recordLineSchema.safeParse({ question: "?", kind: "choice", answer, choices }).success;
}

/** Where an image is, or why it cannot be had. */
function imageOf(cell: ImageCell, root: string): ImageSource | string {
  if (typeof cell !== "string") return { kind: "bytes", ...cell };
  const data = /^data:image\/(\w+)[^,]*;base64,/i.exec(cell);
  if (data !== null) {
    const bytes = Buffer.from(cell.slice(data[0].length), "base64");
    return { kind: "bytes", bytes, name: `image.${data[1]}` };
  }
  if (cell.startsWith("file:")) return { kind: "path", path: fileURLToPath(cell) };
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(cell))
    return "an image that is a web address; download it, and name the file";
  return { kind: "path", path: resolve(root, cell) };
}
