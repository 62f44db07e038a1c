/**
 * Rows of a Parquet file. Plain columns are read a row group at a time; pictures a few rows at a time,
 * when they are asked for, through a cache of a bounded size.
 */
import { VigorlError } from "../../core/errors.ts";
import type { ImageSource } from "../../task/record.ts";
import { openParquet, type ParquetFile } from "../parquet-file.ts";
import { pictureBytes, type PictureColumns, type Row } from "./row.ts";

/** Rows whose pictures are read together. */
const blockRows = 16;
/** Bytes of pictures that are kept. */
const cacheBytes = 1 << 28;

/** Streams the rows. @throws VigorlError("input") for a file that is none or lacks a picture column */
export async function* parquetRows(file: string, pictures: PictureColumns): AsyncGenerator<Row> {
  const parquet = await openParquet(file);
  const { columns, groupRows } = parquet;
  const missing = Object.keys(pictures).filter((name) => !columns.includes(name));
  if (missing.length > 0 && missing.length === Object.keys(pictures).length)
    throw new VigorlError("input", `${file}: has no column ${missing.join(" or ")}`, {
      hint: `its columns: ${columns.join(", ")}`,
    });
  const pictured = Object.entries(pictures).filter(([name]) => columns.includes(name));
  let first = 0;
  for (const [group, numRows] of groupRows.entries()) {
    const plain = new Map<string, readonly unknown[]>();
    for (const name of columns.filter((name) => !(name in pictures)))
      plain.set(name, await parquet.column(group, name));
    const counts = new Map<string, number[]>();
    for (const [name, how] of pictured)
      if (how === "counted") counts.set(name, await countIn(parquet, name, first, numRows));
    for (let i = 0; i < numRows; i++) {
      const row = first + i;
      const entries = [...plain].map(([name, values]) => [name, plainCell(values[i])] as const);
      const block = { start: first + i - (i % blockRows), groupEnd: first + numRows };
      yield {
        place: `${file}: row ${row + 1}`,
        number: row + 1,
        cells: Object.fromEntries(entries),
        pictures: (column) => {
          if (!pictured.some(([name]) => name === column)) return [];
          const count = counts.get(column)?.[i] ?? 1;
          return Array.from({ length: count }, (_, k) =>
            stored(parquet, file, column, row, k, block),
          );
        },
      };
    }
    first += numRows;
  }
}

/** Streams the rows with their pictures as cells, whole columns of a row group in memory. */
export async function* rawParquetRows(file: string): AsyncGenerator<Row> {
  const { columns, groupRows, column } = await openParquet(file);
  let number = 0;
  for (const [group, numRows] of groupRows.entries()) {
    const values: (readonly [string, unknown[]])[] = [];
    for (const name of columns) values.push([name, await column(group, name)]);
    for (let i = 0; i < numRows; i++) {
      number++;
      const cells = Object.fromEntries(values.map(([name, own]) => [name, counted(own[i])]));
      yield { place: `${file}: row ${number}`, number, cells, pictures: () => [] };
    }
  }
}

/** Whole numbers as JavaScript counts them. */
function counted(value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

interface Block {
  readonly start: number;
  readonly groupEnd: number;
}

function stored(
  parquet: ParquetFile,
  file: string,
  column: string,
  row: number,
  index: number,
  { start, groupEnd }: Block,
): ImageSource {
  const name = `${file}: row ${row + 1}, column ${column}`;
  const end = Math.min(start + blockRows, groupEnd);
  const key = `${file}\n${column}\n${start}`;
  const read = async () => {
    const cells = await blocks.get(key, async () =>
      (await parquet.rows(column, start, end)).map(picturesOf),
    );
    return pictureBytes(cells[row - start][index], name);
  };
  return { kind: "stored", name, read };
}

/** How many pictures each row has; the pictures themselves are let go again. */
async function countIn(
  parquet: ParquetFile,
  column: string,
  first: number,
  numRows: number,
): Promise<number[]> {
  const counts: number[] = [];
  for (let at = 0; at < numRows; at += blockRows) {
    const end = first + Math.min(at + blockRows, numRows);
    for (const cell of await parquet.rows(column, first + at, end))
      counts.push(picturesOf(cell).length);
  }
  return counts;
}

/** A cell as a list of pictures: one, several, or a struct of lists. */
function picturesOf(cell: unknown): readonly unknown[] {
  if (cell === null || cell === undefined) return [];
  if (Array.isArray(cell)) return cell.flatMap(picturesOf);
  if (typeof cell !== "object" || cell instanceof Uint8Array) return [cell];
  const bytes = "bytes" in cell ? cell.bytes : null;
  if (Array.isArray(bytes)) return bytes.flatMap(picturesOf);
  return bytes === null || bytes === undefined ? [] : [bytes];
}

/** Bigints to numbers, bytes to text: the reader leaves texts as bytes. */
function plainCell(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("utf8");
  if (Array.isArray(value)) return value.map(plainCell);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  const entries = Object.entries(value).map(([key, entry]) => [key, plainCell(entry)] as const);
  return Object.fromEntries(entries);
}

/** Blocks of pictures, the least recently used out first; what is read twice at once is read once. */
class BlockCache {
  private readonly blocks = new Map<string, Promise<readonly (readonly unknown[])[]>>();
  private readonly sizes = new Map<string, number>();

  async get(
    key: string,
    read: () => Promise<readonly (readonly unknown[])[]>,
  ): Promise<readonly (readonly unknown[])[]> {
    const found = this.blocks.get(key);
    const block = found ?? read();
    this.blocks.delete(key);
    this.blocks.set(key, block);
    try {
      const cells = await block;
      if (found === undefined) this.sizes.set(key, sizeOf(cells));
      this.evict(key);
      return cells;
    } catch (error) {
      this.blocks.delete(key);
      throw error;
    }
  }

  private evict(newest: string): void {
    let total = [...this.sizes.values()].reduce((sum, size) => sum + size, 0);
    for (const key of this.blocks.keys()) {
      if (total <= cacheBytes || key === newest) return;
      total -= this.sizes.get(key) ?? 0;
      this.blocks.delete(key);
      this.sizes.delete(key);
    }
  }
}

function sizeOf(cells: readonly (readonly unknown[])[]): number {
  return cells
    .flat()
    .reduce<number>(
      (sum, cell) =>
        sum + (cell instanceof Uint8Array || typeof cell === "string" ? cell.length : 0),
      0,
    );
}

const blocks = new BlockCache();
