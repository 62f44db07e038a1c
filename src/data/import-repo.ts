/**
 * Reads the JSONL layouts that the paper's repository was published with: those of its RL sets
 * (`problem`, `answer`, `images`) and of its search and evaluation sets (`conversations`, `image`).
 * Every record becomes one of ours or is named with the reason why it was dropped; fields that have
 * no place here are counted. Inclusive integer boxes become half-open ones, which hold the same whole
 * pixels; the published rules read them inclusively again.
 */
import { basename, resolve } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { readJsonl } from "../core/jsonl.ts";
import type { KindName } from "../task/kinds.ts";
import { parseAction } from "../task/kinds/action.ts";
import { letterIndex } from "../task/kinds/choice.ts";
import { recordLineSchema, fromLine, type TaskRecord } from "../task/record.ts";
import { parseIntsLiteral } from "../text/python.ts";
import { listedChoices } from "./listed-choices.ts";

export const layouts = ["rl", "eval"] as const;
type Layout = (typeof layouts)[number];

export interface ImportOptions {
  readonly layout: Layout;
  /** Folder that image paths are relative to. */
  readonly imageRoot: string;
  /** What the answers are; by default found out record by record. */
  readonly kind?: KindName;
  /** RL layout: other names of its keys (one fork writes `solution`, a loader `image_paths`). */
  readonly promptKey?: string;
  readonly answerKey?: string;
  readonly imageKey?: string;
}

export interface Imported {
  readonly records: readonly TaskRecord[];
  /** Records left out; `line` counts from 1 and leaves empty lines out. */
  readonly dropped: readonly { readonly line: number; readonly reason: string }[];
  /** Fields that no record keeps, with how many records had them. */
  readonly droppedFields: Readonly<Record<string, number>>;
}

/**
 * Imports one file. A record without an id, or with that of a line before, is called by file and line.
 * @throws VigorlError("input") naming `file:line` where a line is no JSON object.
 */
export async function importRepoFile(file: string, options: ImportOptions): Promise<Imported> {
  const records: TaskRecord[] = [];
  const ids = new Set<string>();
  const dropped: { line: number; reason: string }[] = [];
  const droppedFields: Record<string, number> = {};
  let line = 0;
  for await (const row of readJsonl(file, z.record(z.string(), z.unknown()))) {
    line++;
    const read = options.layout === "rl" ? readRlRow(row, options) : readEvalRow(row);
    for (const field of Object.keys(row).filter((name) => !read.used.includes(name)))
      droppedFields[field] = (droppedFields[field] ?? 0) + 1;
    const fallbackId = `${basename(file, ".jsonl")}-${line}`;
    const result = "reason" in read ? read.reason : toRecord(read, fallbackId, options);
    if (typeof result === "string") dropped.push({ line, reason: result });
    else records.push(ids.has(result.id) ? { ...result, id: fallbackId } : result);
    ids.add(records.at(-1)?.id ?? "");
  }
  return { records, dropped, droppedFields };
}

/** The layout that the first line of a file has. @throws VigorlError("input") where it has neither. */
export async function layoutOf(file: string): Promise<Layout> {
  for await (const row of readJsonl(file, z.record(z.string(), z.unknown()))) {
    if ("conversations" in row) return "eval";
    if ("problem" in row) return "rl";
    const keys = Object.keys(row).join(", ");
    throw new VigorlError("input", `${file}: line 1 has no published layout (keys: ${keys})`, {
      hint: "published are lines with problem, answer and images, or with conversations and image",
    });
  }
  throw new VigorlError("input", `${file}: holds no lines`);
}

interface Read {
  readonly used: readonly string[];
  readonly id: string | undefined;
  readonly text: string;
  readonly answer: string;
  readonly images: readonly string[];
}

type Unread = { readonly used: readonly string[]; readonly reason: string };

function readRlRow(row: Record<string, unknown>, options: ImportOptions): Read | Unread {
  const { promptKey = "problem", answerKey = "answer", imageKey = "images" } = options;
  const used = ["id", promptKey, answerKey, imageKey];
  const images = z.union([z.string(), z.array(z.string())]).safeParse(row[imageKey]);
  if (!images.success) return { used, reason: `no images in "${imageKey}"` };
  return readTexts(used, row, row[promptKey], row[answerKey], [images.data].flat());
}

function readEvalRow(row: Record<string, unknown>): Read | Unread {
  const used = ["id", "image", "conversations"];
  if (typeof row.image !== "string") return { used, reason: "no image" };
  const turns = conversation.safeParse(row.conversations);
  if (!turns.success) return { used, reason: "no conversation of question and answer" };
  const [question, answer] = turns.data;
  return readTexts(used, row, question, answer, [row.image]);
}

/** A list of {from, value}, or one object with two lists, as a Parquet conversion leaves it. */
const conversation = z
  .union([
    z.array(z.object({ value: z.string() })).transform((turns) => turns.map(({ value }) => value)),
    z.object({ value: z.array(z.string()) }).transform(({ value }) => value),
  ])
  .refine((values) => values.length >= 2);

function readTexts(
  used: readonly string[],
  row: Record<string, unknown>,
  question: unknown,
  answer: unknown,
  images: readonly string[],
): Read | Unread {
  const text = typeof question === "string" ? question.replaceAll("<image>", "").trim() : "";
  if (text === "") return { used, reason: "no question" };
  if (typeof answer !== "string" || answer.trim() === "") return { used, reason: "no answer" };
  if (images.length === 0) return { used, reason: "no images" };
  const id = typeof row.id === "string" || typeof row.id === "number" ? String(row.id) : undefined;
  return { used, id, text, answer: answer.trim(), images };
}

function toRecord(read: Read, fallbackId: string, options: ImportOptions): TaskRecord | string {
  const choices = listedChoices(read.text);
  const kind = options.kind ?? kindOf(read.answer, choices);
  const area = kind === "point" ? (parseIntsLiteral(read.answer)?.values ?? null) : null;
  if (kind === "point" && area?.length !== 4) return `"${read.answer}" is no box of four integers`;
  const [x0, y0, x1, y1] = area ?? [];
  const line = recordLineSchema.safeParse({
    id: read.id ?? fallbackId,
    question: read.text,
    kind,
    answer: area === null ? read.answer : { box: [x0, y0, x1 + 1, y1 + 1] },
    ...(kind === "choice" && choices.length >= 2 ? { choices } : {}),
  });
  if (!line.success) return line.error.issues.map((issue) => issue.message).join("; ");
  const images = read.images.map((path) => ({
    kind: "path" as const,
    path: resolve(options.imageRoot, path),
  }));
  return fromLine(line.data, images, fallbackId);
}

function kindOf(answer: string, choices: readonly string[]): KindName {
  if (parseIntsLiteral(answer)?.values.length === 4) return "point";
  if (parseAction(answer) !== null) return "action";
  const isListed = choices.includes(answer) || letterIndex(answer, choices.length) >= 0;
  return isListed ? "choice" : "text";
}
