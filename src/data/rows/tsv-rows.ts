/**
 * Rows of a TSV file as VLMEvalKit publishes them: a header, tabs, cells in double quotes where they
 * hold tabs, quotes or line breaks. Of a picture cell only the place in the file is kept; a text of at
 * most 64 characters there is the index of the row whose picture is meant, and a Python list holds
 * several. The file is walked twice: a reference may point behind itself.
 */
import { open, type FileHandle } from "node:fs/promises";
import { VigorlError } from "../../core/errors.ts";
import { ioError } from "../../core/files.ts";
import { isLfsPointer, lfsPointerError, openRegular } from "../../core/regular-file.ts";
import type { ImageSource } from "../../task/record.ts";
import { parseStringsLiteral } from "../../text/python.ts";
import { fromBase64, type PictureColumns, type Row } from "./row.ts";

/** A picture cell of at most so many characters names another row. */
const referenceLength = 64;
/** No other cell is larger. */
const maxCellBytes = 1 << 24;

/** Streams the rows. @throws VigorlError("input") naming `file: row n` where a row has other columns */
export async function* tsvRows(file: string, pictures: PictureColumns): AsyncGenerator<Row> {
  const byIndex = new Map<string, ReadonlyMap<string, PictureCell>>();
  for await (const { cells, places } of scan(file, pictures))
    if (typeof cells.index === "string") byIndex.set(cells.index, places);
  let number = 0;
  for await (const { cells, places } of scan(file, pictures)) {
    const place = `${file}: row ${++number}`;
    const sources = new Map<string, readonly ImageSource[]>();
    for (const [column, cell] of places)
      sources.set(column, await sourcesOf(file, place, column, cell, byIndex));
    yield { place, number, cells, pictures: (column) => sources.get(column) ?? [] };
  }
}

/** A cell whose text was not kept: its bytes in the file, quotes left out, and how it begins. */
interface PictureCell {
  readonly start: number;
  readonly end: number;
  readonly isQuoted: boolean;
  readonly head: string;
}

interface Scanned {
  readonly cells: Record<string, unknown>;
  readonly places: ReadonlyMap<string, PictureCell>;
}

async function sourcesOf(
  file: string,
  place: string,
  column: string,
  cell: PictureCell,
  byIndex: ReadonlyMap<string, ReadonlyMap<string, PictureCell>>,
  seen = 0,
): Promise<readonly ImageSource[]> {
  const name = `${place}, column ${column}`;
  const length = cell.end - cell.start;
  if (length === 0) return [];
  if (cell.head.startsWith("[")) {
    const list = parseStringsLiteral(await textAt(file, cell));
    if (list === null) throw new VigorlError("input", `${name}: is no list of pictures`);
    return list.map((_, i) => ({
      kind: "stored",
      name: `${name}, picture ${i + 1}`,
      read: async () => {
        const texts = parseStringsLiteral(await textAt(file, cell)) ?? [];
        return fromBase64(texts[i] ?? "", name);
      },
    }));
  }
  if (length > referenceLength)
    return [{ kind: "stored", name, read: async () => fromBase64(await textAt(file, cell), name) }];
  const meant = byIndex.get(cell.head.trim())?.get(column);
  if (meant === undefined || seen > 8)
    throw new VigorlError("input", `${name}: names row ${cell.head}, which has no picture`);
  return sourcesOf(file, place, column, meant, byIndex, seen + 1);
}

async function textAt(file: string, { start, end, isQuoted }: PictureCell): Promise<string> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file);
    const bytes = Buffer.alloc(end - start);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
    if (bytesRead < bytes.length)
      throw new VigorlError("input", `${file}: became shorter while it was read`);
    const text = bytes.toString("utf8");
    return isQuoted ? text.replaceAll('""', '"') : text;
  } catch (error) {
    throw ioError(error, file);
  } finally {
    await handle?.close();
  }
}

/** Rows by the header's names; empty lines are passed over. */
async function* scan(file: string, pictures: PictureColumns): AsyncGenerator<Scanned> {
  let header: readonly string[] | undefined;
  let row = 0;
  const isPicture = (column: number) => header !== undefined && header[column] in pictures;
  for await (const cells of scanCells(file, isPicture)) {
    if (header === undefined) {
      header = cells.map((cell) => (typeof cell === "string" ? cell.replace(/^\ufeff/, "") : ""));
      continue;
    }
    row++;
    if (cells.length === 1 && cells[0] === "") continue;
    if (cells.length !== header.length)
      throw new VigorlError(
        "input",
        `${file}: row ${row} has ${cells.length} cells under ${header.length} columns`,
        { hint: "the file is damaged or cut off; download it again" },
      );
    const places = new Map<string, PictureCell>();
    const plain: Record<string, unknown> = {};
    for (const [i, cell] of cells.entries())
      if (typeof cell === "string") plain[header[i]] = cell;
      else places.set(header[i], cell);
    yield { cells: plain, places };
  }
  if (header === undefined) throw new VigorlError("input", `${file}: is empty`);
}

const TAB = 9;
const LINE_FEED = 10;
const RETURN = 13;
const QUOTE = 34;

/** Rows as lists of cells, byte by byte; of cells where `isPicture` only the place. */
async function* scanCells(
  file: string,
  isPicture: (column: number) => boolean,
): AsyncGenerator<(string | PictureCell)[]> {
  let cells: (string | PictureCell)[] = [];
  let state: "start" | "plain" | "quoted" | "closed" = "start";
  let isQuoted = false;
  let kept: number[] = [];
  let start = 0;
  let end = 0;
  const close = () => {
    const text = Buffer.from(kept).toString("utf8");
    if (isPicture(cells.length)) cells.push({ start, end, isQuoted, head: text });
    else cells.push(isQuoted ? text : text.replace(/\r$/, ""));
    kept = [];
    state = "start";
    isQuoted = false;
  };
  const keep = (byte: number) => {
    const most = isPicture(cells.length) ? referenceLength : maxCellBytes;
    if (kept.length < most) kept.push(byte);
    else if (most === maxCellBytes)
      throw new VigorlError("input", `${file}: holds a cell of more than ${maxCellBytes} bytes`);
  };
  let offset = 0;
  for await (const chunk of chunksOf(file)) {
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i];
      const at = offset + i;
      if (state === "start") {
        start = at;
        end = at;
        if (byte === QUOTE) {
          state = "quoted";
          isQuoted = true;
          start = at + 1;
          continue;
        }
        state = "plain";
      }
      if (state === "quoted") {
        if (byte === QUOTE) {
          state = "closed";
          end = at;
        } else keep(byte);
        continue;
      }
      if (state === "closed" && byte === QUOTE) {
        keep(QUOTE);
        state = "quoted";
        continue;
      }
      if (byte === TAB || byte === LINE_FEED) {
        if (state === "plain") end = at;
        close();
        if (byte === LINE_FEED) {
          yield cells;
          cells = [];
        }
        continue;
      }
      if (state === "closed") {
        if (byte === RETURN) continue;
        state = "plain";
      }
      keep(byte);
      // Base64 is passed over at once, up to the end of its cell.
      if (isPicture(cells.length) && kept.length === referenceLength) {
        const next = nextEnd(chunk, i + 1);
        i = next - 1;
      }
    }
    offset += chunk.length;
  }
  end = state === "plain" ? offset : end;
  if (state === "quoted")
    throw new VigorlError("input", `${file}: ends inside a quoted cell`, {
      hint: "the file is cut off; download it again",
    });
  if (state !== "start" || cells.length > 0) {
    if (state === "start") start = end = offset;
    close();
    yield cells;
  }
}

/** Where the first tab or line feed stands at or behind `from`; the length where there is none. */
function nextEnd(chunk: Buffer, from: number): number {
  const line = chunk.indexOf(LINE_FEED, from);
  const limit = line < 0 ? chunk.length : line;
  const tab = chunk.subarray(0, limit).indexOf(TAB, from);
  return tab < 0 ? limit : tab;
}

async function* chunksOf(file: string): AsyncGenerator<Buffer> {
  const { handle } = await openRegular(file);
  try {
    let isFirst = true;
    for await (const chunk of handle.createReadStream({ highWaterMark: 1 << 20 })) {
      const bytes = chunk as Buffer;
      if (isFirst && isLfsPointer(bytes)) throw lfsPointerError(file);
      isFirst = false;
      yield bytes;
    }
  } catch (error) {
    throw ioError(error, file);
  }
}
