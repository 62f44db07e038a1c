/**
 * Ratings as they come back, JSONL or CSV, read strictly: all that is wrong is told, line by line, and
 * nothing is counted before it is mended. A person rates an item once, and a sentence in one form alone.
 */
import { extname } from "node:path";
import { parse } from "csv-parse/sync";
import { problemsOf } from "../../core/config.ts";
import { VigorlError } from "../../core/errors.ts";
import { ioError } from "../../core/files.ts";
import { readText } from "../../core/regular-file.ts";
import { ratingSchema, questions, type KeyLine, type Rating } from "./files.ts";

/** A rating with what its item stands for. */
export interface KeyedRating extends Rating {
  readonly key: KeyLine;
}

/** More than any study takes. */
const maxBytes = 1 << 26;
/** Problems that are told. */
const maxProblems = 20;

/** Reads ratings. @throws VigorlError("input") with every line that is wrong, "io" */
export async function readRatings(file: string, key: readonly KeyLine[]): Promise<KeyedRating[]> {
  const text = await readText(file, maxBytes).catch((error: unknown) => {
    throw ioError(error, file);
  });
  if (text.includes("\ufffd"))
    throw new VigorlError("input", `${file}: is not UTF-8`, { hint: "save the file as UTF-8" });
  const rows = rowsOf(file, text.replace(/^\ufeff/, ""));
  const byId = new Map(key.map((line) => [line.id, line]));
  const problems: string[] = [];
  const ratings: KeyedRating[] = [];
  const seen = new Map<string, number>();
  for (const { line, value, problem } of rows) {
    const parsed = problem === null ? ratingSchema.safeParse(value, { reportInput: true }) : null;
    const faults =
      parsed === null
        ? [problem ?? ""]
        : parsed.success
          ? faultsOf(parsed.data, byId, seen, line)
          : problemsOf(parsed.error, ratingSchema);
    problems.push(...faults.map((fault) => `${file}:${line}: ${fault}`));
    const known = parsed?.success === true ? byId.get(parsed.data.item) : undefined;
    if (parsed?.success === true && known !== undefined)
      ratings.push({ ...parsed.data, key: known });
  }
  if (problems.length > 0) throw refusal(problems);
  if (ratings.length > 0) return ratings;
  throw new VigorlError("input", `${file}: holds no ratings`, {
    hint: "one line a rating: participant, item, accuracy, helpfulness, clarity",
  });
}

function refusal(problems: readonly string[]): VigorlError {
  const more = problems.length - maxProblems;
  const shown = problems.slice(0, maxProblems);
  const text = [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join("\n");
  const faults = problems.length === 1 ? "a fault" : `${problems.length} faults`;
  return new VigorlError("input", `${faults} in the ratings:\n${text}`, {
    hint: "mend or remove these lines; nothing was counted",
  });
}

interface Row {
  readonly line: number;
  readonly value: unknown;
  readonly problem: string | null;
}

function rowsOf(file: string, text: string): Row[] {
  const kind = extname(file).toLowerCase();
  if (kind === ".csv") return csvRows(file, text);
  if (kind === ".jsonl") return jsonRows(text);
  throw new VigorlError("usage", `${file}: ratings are .jsonl or .csv`);
}

function jsonRows(text: string): Row[] {
  return text.split("\n").flatMap((line, i): Row[] => {
    if (line.trim() === "") return [];
    try {
      return [{ line: i + 1, value: JSON.parse(line) as unknown, problem: null }];
    } catch (error) {
      return [{ line: i + 1, value: null, problem: `not JSON: ${(error as Error).message}` }];
    }
  });
}

const columns = Object.keys(ratingSchema.shape);

/** Cells are texts: empty ones are left out, numbers are read where a number is meant. */
function csvRows(file: string, text: string): Row[] {
  let records: { record: string[]; info: { lines: number } }[];
  try {
    const [header] = text.split("\n", 1);
    records = parse(text, {
      delimiter: header.includes(",") ? "," : ";",
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
      trim: true,
    }) as unknown as typeof records;
  } catch (error) {
    throw new VigorlError("input", `${file}: not CSV: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const [header, ...rows] = records;
  const names = header?.record ?? [];
  const strange = names.filter((name, i) => !columns.includes(name) || names.indexOf(name) !== i);
  if (strange.length > 0 || !names.includes("participant") || !names.includes("item"))
    throw new VigorlError("input", `${file}:1: its columns are ${names.join(", ") || "none"}`, {
      hint: `write ${columns.join(",")}, in any order; participant and item must be there`,
    });
  return rows.map(({ record, info }) => {
    const cells = names.flatMap((name, i): [string, unknown][] => {
      const cell = record[i] ?? "";
      if (cell === "") return [];
      const isNumber = name !== "participant" && name !== "item" && name !== "accuracy";
      return [[name, isNumber && /^\d+$/.test(cell) ? Number(cell) : cell]];
    });
    const tooMany = record.length > names.length;
    const problem = tooMany ? `has ${record.length} cells instead of ${names.length}` : null;
    return { line: info.lines, value: Object.fromEntries(cells), problem };
  });
}

/** What is wrong with a rating that has the right form. */
function faultsOf(
  rating: Rating,
  byId: ReadonlyMap<string, KeyLine>,
  seen: Map<string, number>,
  line: number,
): string[] {
  const { participant, item } = rating;
  const key = byId.get(item);
  if (key === undefined) return [`item ${JSON.stringify(item)} is none of this study`];
  const place = JSON.stringify([participant, key.sentence]);
  const before = seen.get(place);
  seen.set(place, before ?? line);
  const again =
    before === undefined
      ? []
      : [`${JSON.stringify(participant)} has rated this sentence already, on line ${before}`];
  const asked = (["accuracy", "helpfulness", "clarity"] as const).flatMap((name) => {
    const isAsked = (questions[name].of as readonly string[]).includes(key.condition);
    return rating[name] !== undefined && !isAsked
      ? [`${name} is not asked of an item whose place is hidden`]
      : [];
  });
  const isMissing = key.condition === "marked" && rating.accuracy === undefined;
  const isEmpty = key.condition === "masked" && rating.clarity === undefined;
  return [
    ...again,
    ...asked,
    ...(isMissing ? ["accuracy is missing: yes, no or unsure"] : []),
    ...(isEmpty ? ["clarity is missing: 1 to 5"] : []),
  ];
}
