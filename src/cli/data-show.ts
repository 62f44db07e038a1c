/** `vigorl data show`: the questions of a dataset as a table, and with their pictures as a page. */
import { programName } from "../core/paths.ts";
import { basename, dirname, extname, join } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { textTable } from "../core/plain-text.ts";
import { textOf, wholeNumber, type Context, type Options, type Result } from "./frame.ts";

/** Rows that the table shows; the page shows as many as are asked for. */
const tableRows = 20;

export async function showDataset(
  file: string | undefined,
  options: Options,
  { signal }: Context,
): Promise<Result> {
  if (file === undefined) {
    throw new VigorlError("usage", "data show: which file?", {
      hint: `${programName} data show train.jsonl`,
    });
  }
  const count = wholeNumber("--count", options.count ?? "60", 1, 10_000);
  const { distinctRecords, openPlaced } = await import("../data/dataset.ts");
  const { shownTruth } = await import("../task/kinds.ts");
  const { datasetPage } = await import("../eval/dataset-page.ts");
  const { writeFileAtomic } = await import("../core/files.ts");
  const imageRoot = options.images === undefined ? {} : { imageRoot: String(options.images) };
  const records = [];
  const kinds: Record<string, number> = {};
  let total = 0;
  let numGuessed = 0;
  for await (const { record, isGuessed } of distinctRecords(openPlaced(file, imageRoot))) {
    signal.throwIfAborted();
    total++;
    if (isGuessed === true) numGuessed++;
    kinds[record.kind] = (kinds[record.kind] ?? 0) + 1;
    if (records.length < count) records.push(record);
  }
  if (total === 0) throw new VigorlError("input", `${file}: holds no records`);
  const page = textOf(options.out) ?? join(dirname(file), `${basename(file, extname(file))}.html`);
  await writeFileAtomic(page, await datasetPage(basename(file), records, total));
  const rows = records.slice(0, tableRows).map((record) => {
    const { id, kind, question, images } = record;
    return [id, kind, images.length, shownTruth(record).text, question].map(String);
  });
  const lines = [
    `${total} records: ${Object.entries(kinds)
      .map(([kind, n]) => `${n} ${kind}`)
      .join(", ")}${numGuessed === 0 ? "" : `; the kind of ${numGuessed} is guessed`}`,
    ...table([["id", "kind", "images", "answer", "question"], ...rows]),
    ...(total > rows.length ? [`and ${total - rows.length} more`] : []),
    page,
  ];
  return {
    json: { file, count: total, kinds, numGuessed, shown: records.length, page },
    text: lines.join("\n"),
  };
}

/** Widest that the columns before the question may be. */
const widths = [24, 8, 6, 30];

/** The question has what is left of the terminal. */
function table(rows: string[][]): string[] {
  const used = widths.map((most, c) =>
    Math.min(most, Math.max(...rows.map((row) => row[c].length))),
  );
  const room = (process.stdout.columns ?? 100) - used.reduce((sum, width) => sum + width + 2, 0);
  return textTable(rows, rows[0].length, [...widths, Math.max(20, room)]);
}
