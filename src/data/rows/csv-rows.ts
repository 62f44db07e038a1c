/** Rows of a table with a header, separated by commas, semicolons or tabs. It holds no pictures. */
import { extname } from "node:path";
import { parse as csvParser } from "csv-parse";
import { VigorlError } from "../../core/errors.ts";
import { openRegular } from "../../core/regular-file.ts";
import type { Row } from "./row.ts";

/** Longest line of a table, embedded pictures included. */
const maxLineBytes = 1 << 26;

/** @throws VigorlError("input") where rows and header do not fit */
export async function* csvRows(file: string): AsyncGenerator<Row> {
  const { handle } = await openRegular(file);
  const parser = csvParser({
    bom: true,
    columns: true,
    delimiter: extname(file).toLowerCase() === ".tsv" ? "\t" : await separatorOf(file),
    info: true,
    max_record_size: maxLineBytes,
    skip_empty_lines: true,
    trim: true,
  });
  const stream = handle.createReadStream();
  stream.on("error", (error) => parser.destroy(error));
  const rows = stream.pipe(parser) as AsyncIterable<{
    record: Row["cells"];
    info: { lines: number };
  }>;
  try {
    let number = 0;
    for await (const { record, info } of rows)
      yield {
        cells: record,
        number: ++number,
        place: `${file}:${info.lines}`,
        pictures: () => [],
      };
  } catch (cause) {
    if (cause instanceof VigorlError || !(cause instanceof Error)) throw cause;
    throw new VigorlError("input", `${file}: ${cause.message}`, {
      hint: "a table has a header, and as many cells in every row; cells with separators stand in quotes",
      cause,
    });
  } finally {
    stream.destroy();
  }
}

/** A comma, or the semicolon of locales whose decimals have commas, as the header tells. */
async function separatorOf(file: string): Promise<string> {
  const { handle } = await openRegular(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(1 << 14), 0, 1 << 14, 0);
    const [header] = buffer.toString("utf8", 0, bytesRead).split(/\r?\n/, 1);
    const count = (mark: string) => header.split(mark).length;
    return [";", "\t"].find((mark) => count(mark) > count(",")) ?? ",";
  } finally {
    await handle.close();
  }
}
