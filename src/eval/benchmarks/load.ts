/**
 * Reads a benchmark from a folder: finds the layout, makes records of its rows, brings boxes to pixels,
 * and says what it read. A row that does not have its layout stops it, with its place.
 */
import { z } from "zod";
import { problemsOf } from "../../core/config.ts";
import { VigorlError } from "../../core/errors.ts";
import {
  cachedSnapshot,
  fetchSnapshot,
  type HubOptions,
  type HubSnapshot,
} from "../../core/hub.ts";
import { findPath, programName } from "../../core/paths.ts";
import { readRegular } from "../../core/regular-file.ts";
import { FolderFiles, listFolder } from "../../data/rows/folder-files.ts";
import { jsonlRows, jsonRows } from "../../data/rows/json-rows.ts";
import { parquetRows } from "../../data/rows/parquet-rows.ts";
import type { Row } from "../../data/rows/row.ts";
import { tsvRows } from "../../data/rows/tsv-rows.ts";
import { imageSize } from "../../image/decode.ts";
import { truthProblem } from "../../task/kinds.ts";
import { loadImages, type ImageSource, type TaskRecord } from "../../task/record.ts";
import type { Benchmark, Draft, Layout, PixelSize, RowContext } from "./benchmark.ts";
import { pixelBox, recogniseBoxes, type PublishedBoxes } from "./boxes.ts";

export interface LoadOptions {
  readonly split?: string | undefined;
  /** Only so many from the front. */
  readonly limit?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface LoadedBenchmark {
  readonly records: readonly TaskRecord[];
  readonly layout: string;
  readonly split: string;
  /** Paths on disk of the files that rows were read from. */
  readonly files: readonly string[];
  /** What a reader of the figures has to know: rows left out, boxes that reach out, a count that is off. */
  readonly notes: readonly string[];
}

/** @throws VigorlError("input") where the folder has no layout of the benchmark, or a row is wrong */
export async function loadBenchmark(
  benchmark: Benchmark,
  folder: string,
  options: LoadOptions = {},
): Promise<LoadedBenchmark> {
  const split = options.split ?? benchmark.splits[0];
  if (!benchmark.splits.includes(split))
    throw new VigorlError("usage", `${benchmark.name} has no split ${split}`, {
      hint: `it has ${benchmark.splits.join(", ")}`,
    });
  const files = await listFolder(folder);
  const { layout, paths } = layoutOf(benchmark, files, split);
  const { limit = Infinity, signal } = options;
  const drafts: Drafted[] = [];
  const sides = new Map<string, Promise<unknown>>();
  const ids = new Map<string, string>();
  let index = 0;
  let passed = 0;
  for (const path of paths) {
    if (drafts.length >= limit) break;
    const file = `${files.folder}/${path}`;
    const part = layout.files(split).exec(path)?.groups?.part ?? "";
    for await (const row of rowsOf(layout, file)) {
      signal?.throwIfAborted();
      if (drafts.length >= limit) break;
      const context = contextOf(row, files, sides, { split, part, index: index++ });
      const read = await layout.read(row, context);
      if (read === null) passed++;
      else for (const draft of [read].flat()) drafts.push(placed(draft, row.place, ids));
    }
  }
  if (drafts.length === 0)
    throw new VigorlError(
      "input",
      `${folder}: ${benchmark.name} has no row of split ${split} in it`,
    );
  const { records, notes } = await withBoxes(drafts);
  refuseWrongTruths(records, drafts);
  return {
    records: records.map((record) => ({ ...record, source: benchmark.name })),
    layout: layout.name,
    split,
    files: paths.map((path) => `${files.folder}/${path}`),
    notes: [
      ...revisionNote(folder),
      ...countNote(benchmark, split, records.length + passed, limit),
      ...(passed === 0 ? [] : [`${passed} rows are not part of this benchmark`]),
      ...notes,
    ],
  };
}

/**
 * Where a benchmark's files lie: the folder that was named, else what `data get` has left in the cache.
 * @throws VigorlError("usage") where there is neither
 */
export async function benchmarkFolder(
  benchmark: Benchmark,
  folder: string | undefined,
): Promise<string> {
  if (folder !== undefined) return findPath(folder);
  const { name, hub } = benchmark;
  const cached = hub === null ? null : await cachedSnapshot({ kind: "dataset", name: hub.repo });
  if (cached !== null) return cached.folder;
  throw new VigorlError("usage", `${name}: in which folder does it lie?`, {
    hint: `fetch it with ${programName} data get ${name}, or name its folder with --data (folder: in a recipe)`,
  });
}

/** What `data get` fetches, a line each: patterns with * and {a,b}. */
export function neededFiles({ hub }: Benchmark, split: string): string[] {
  return hub === null ? [] : globsOf(hub.files(split));
}

/** Fetches a benchmark into the hub's cache. @throws VigorlError where it has no copy there, or none comes */
export async function getBenchmark(
  benchmark: Benchmark,
  split: string = benchmark.splits[0],
  options: HubOptions = {},
): Promise<HubSnapshot> {
  const { hub, name, sources } = benchmark;
  if (hub === null)
    throw new VigorlError("input", `${name}: is not fetched from the hub`, {
      hint: `take it from ${sources.join(" or ")}, and name its folder with --data`,
    });
  const files = hub.files(split);
  const repo = { kind: "dataset", name: hub.repo } as const;
  return fetchSnapshot(repo, (path) => files.test(path), globsOf(files), options);
}

/** A pattern of paths as people write it, alternatives on lines of their own. */
function globsOf({ source }: RegExp): string[] {
  let glob = source
    .replaceAll("\\/", "/")
    .replaceAll(/(?:\[\\w-\]|\\w|\.)[*+]/g, "*")
    .replaceAll("\\.", ".")
    .replaceAll(/[\^$]/g, "");
  const innermost = /\(\?:([^()]*)\)/;
  while (innermost.test(glob))
    glob = glob.replace(innermost, (_, inner: string) => `{${inner.replaceAll("|", ",")}}`);
  const whole = /^\{(.*)\}$/.exec(glob)?.[1];
  return outside(whole ?? glob, whole === undefined ? "|" : ",");
}

/** Parts of a text between marks that stand in no braces. */
function outside(text: string, mark: string): string[] {
  const parts = [""];
  let depth = 0;
  for (const char of text) {
    if (char === "{") depth++;
    if (char === "}") depth--;
    if (char === mark && depth === 0) parts.push("");
    else parts[parts.length - 1] += char;
  }
  return parts;
}

/** Files whose rows a load would read, to be hashed; none where the folder has none. */
export async function benchmarkFiles(
  benchmark: Benchmark,
  folder: string,
  split: string = benchmark.splits[0],
): Promise<string[]> {
  const files = await listFolder(folder);
  return layoutOf(benchmark, files, split).paths.map((path) => `${files.folder}/${path}`);
}

/** Checks a row's cells. @throws VigorlError("input") naming the row and the columns */
export function cellsOf<T>(row: Row, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(row.cells, { reportInput: true });
  if (parsed.success) return parsed.data;
  const problems = problemsOf(parsed.error, schema).join("; ");
  throw new VigorlError("input", `${row.place}: ${problems}`, {
    hint: `its columns: ${Object.keys(row.cells).join(", ")}`,
  });
}

/** Height and width of a picture, from its header. */
export async function pictureSize(source: ImageSource, place: string): Promise<PixelSize> {
  switch (source.kind) {
    case "path":
      return imageSize(await readRegular(source.path, 1 << 28), { name: source.path });
    case "stored":
      return imageSize(await source.read(), { name: source.name });
    case "bytes":
      return imageSize(source.bytes, { name: source.name });
    case "render": {
      const [image] = await loadImages({ ...nothing, id: place, images: [source] });
      return image;
    }
  }
}

const nothing = { question: "", kind: "text", answer: "" } as const;

interface Drafted extends Draft {
  readonly place: string;
}

function layoutOf(
  benchmark: Benchmark,
  files: FolderFiles,
  split: string,
): { layout: Layout; paths: readonly string[] } {
  for (const layout of benchmark.layouts) {
    const paths = files.paths.filter((path) => layout.files(split).test(path));
    if (paths.length > 0) return { layout, paths };
  }
  const known = benchmark.layouts.map(
    ({ name, files: pattern }) => `${name}: ${pattern(split).source}`,
  );
  throw new VigorlError("input", `${files.folder}: holds no data of ${benchmark.name} (${split})`, {
    hint: `it is read from files such as\n  ${known.join("\n  ")}\n  (${programName} data get ${benchmark.name} says what to fetch)`,
  });
}

function rowsOf({ format, pictures = {} }: Layout, file: string): AsyncGenerator<Row> {
  switch (format) {
    case "parquet":
      return parquetRows(file, pictures);
    case "tsv":
      return tsvRows(file, pictures);
    case "json":
      return jsonRows(file);
    case "jsonl":
      return jsonlRows(file);
  }
}

function contextOf(
  row: Row,
  files: FolderFiles,
  sides: Map<string, Promise<unknown>>,
  at: Pick<RowContext, "split" | "part" | "index">,
): RowContext {
  return {
    ...at,
    picture: (name) => ({ kind: "path", path: files.find(name, row.place) }),
    side: async <T>(
      key: string,
      read: (find: (pattern: RegExp) => readonly string[]) => Promise<T>,
    ) => {
      const side = sides.get(key) ?? read((pattern) => files.matching(pattern));
      sides.set(key, side);
      return (await side) as T;
    },
  };
}

/** Ids must differ: reports and replies name questions by them. */
function placed(draft: Draft, place: string, ids: Map<string, string>): Drafted {
  const before = ids.get(draft.record.id);
  if (before !== undefined)
    throw new VigorlError(
      "input",
      `${place}: the id "${draft.record.id}" is that of ${before}, too`,
      { hint: "a part of the data is there twice; keep one copy in the folder" },
    );
  ids.set(draft.record.id, place);
  return { ...draft, place };
}

async function withBoxes(
  drafts: readonly Drafted[],
): Promise<{ records: TaskRecord[]; notes: string[] }> {
  const published = new Map<Drafted, PublishedBoxes>();
  const sizes = new Map<string, PixelSize>();
  for (const draft of drafts) {
    const { boxes, record, place } = draft;
    if (boxes === undefined) continue;
    const [image] = record.images;
    const key = image.kind === "path" ? image.path : place;
    const size = boxes.size ?? sizes.get(key) ?? (await pictureSize(image, place));
    sizes.set(key, size);
    published.set(draft, { place, numbers: boxes.numbers, size });
  }
  if (published.size === 0) return { records: drafts.map(({ record }) => record), notes: [] };
  const allowed = drafts.find(({ boxes }) => boxes !== undefined)?.boxes?.conventions ?? [];
  const { convention, over } = recogniseBoxes([...published.values()], allowed);
  const records = drafts.map((draft) => {
    const found = published.get(draft);
    if (draft.boxes === undefined || found === undefined) return draft.record;
    const boxes = found.numbers.map((numbers) => pixelBox(numbers, convention, found.size));
    return draft.boxes.place(draft.record, boxes, found.size);
  });
  const told = over.slice(0, 20);
  const more = over.length > told.length ? [`and ${over.length - told.length} more`] : [];
  return { records, notes: [`boxes are ${convention}`, ...told, ...more] };
}

function refuseWrongTruths(records: readonly TaskRecord[], drafts: readonly Drafted[]): void {
  for (const [i, record] of records.entries()) {
    const problem = truthProblem(record);
    if (problem !== null)
      throw new VigorlError("input", `${drafts[i].place}: answer: ${problem.message}`);
  }
}

function countNote(benchmark: Benchmark, split: string, count: number, limit: number): string[] {
  const { questions, splits } = benchmark;
  if (questions === null || split !== splits[0] || count === questions || limit <= count) return [];
  return [`${count} questions, where ${questions} are published`];
}

/** The commit, where the folder is a snapshot of the hub's cache. */
function revisionNote(folder: string): string[] {
  const commit = /[\\/]snapshots[\\/]([0-9a-f]{40})[\\/]?$/.exec(folder)?.[1];
  return commit === undefined ? [] : [`revision ${commit} of the hub`];
}
