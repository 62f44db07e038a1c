/** `vigorl data import`: files of other people as datasets, and what became of their rows. */
import { programName } from "../core/paths.ts";
import { dirname, resolve } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { oneOf, textOf, type Options, type Result } from "./frame.ts";

/** What was kept and what was not, whatever the form. */
interface Imported {
  readonly records: readonly import("../task/record.ts").TaskRecord[];
  readonly dropped: readonly { readonly line: number; readonly reason: string }[];
  readonly droppedFields: Readonly<Record<string, number>>;
  readonly mapped?: Readonly<Record<string, number>>;
  readonly notes?: Readonly<Record<string, number>>;
  readonly guessedKinds?: Readonly<Record<string, number>>;
}

export async function importDataset(
  form: string | undefined,
  file: string | undefined,
  options: Options,
): Promise<Result> {
  const { formNames } = await import("../data/forms/table.ts");
  const name = oneOf("data import: the form", form, ["repo", "coco", ...formNames]);
  const out = textOf(options.out);
  if (file === undefined || out === undefined) {
    throw new VigorlError("usage", "data import: which file, and where to?", {
      hint: `${programName} data import ${name} rows.jsonl --images images --out own.jsonl`,
    });
  }
  if (resolve(out) === resolve(file))
    throw new VigorlError("usage", `data import: --out ${out} is the file that is read`);
  refuseOthers(name, options);
  const imported = await read(name, file, options);
  const { records, dropped, droppedFields, mapped = {}, notes = {}, guessedKinds = {} } = imported;
  const reasons = counted(dropped.map(({ reason }) => reason));
  if (records.length === 0) {
    throw new VigorlError("input", `${file}: none of ${dropped.length} lines became a record`, {
      hint: dropped.length === 0 ? "it is empty" : inWords(reasons),
    });
  }
  const { writeDataset } = await import("../data/write.ts");
  const count = await writeDataset(out, records, { images: "reference" });
  const kinds = counted(records.map(({ kind }) => kind));
  const { length: numDropped } = dropped;
  const lines = [
    `${count} records: ${inWords(kinds)}`,
    ...told("mapped", mapped),
    ...told("kinds guessed from question and answer", guessedKinds),
    ...told("changed", notes),
    ...(numDropped === 0 ? [] : [`${numDropped} lines dropped: ${inWords(reasons)}`]),
    ...dropped.slice(0, 20).map(({ line, reason }) => `  line ${line}: ${reason}`),
    ...told("fields that no record keeps", droppedFields),
    out,
  ];
  const { records: _, ...rest } = imported;
  return {
    json: { file: out, count, kinds, numDropped, reasons, ...rest },
    text: lines.join("\n"),
  };
}

/** Options that mean something to one form only. */
function refuseOthers(form: string, options: Options): void {
  for (const [flag, own] of [
    ["layout", "repo"],
    ["ask", "coco"],
  ] as const)
    if (options[flag] !== undefined && form !== own)
      throw new VigorlError("usage", `data import ${form}: --${flag} belongs to the form ${own}`);
}

async function read(
  form: ReturnType<typeof oneOf<string>>,
  file: string,
  options: Options,
): Promise<Imported> {
  const { kindNames } = await import("../task/kinds.ts");
  const kind = options.kind === undefined ? {} : { kind: oneOf("--kind", options.kind, kindNames) };
  const common = { imageRoot: textOf(options.images) ?? dirname(file), ...kind };
  if (form === "repo") {
    const { importRepoFile, layouts, layoutOf } = await import("../data/import-repo.ts");
    const layout =
      options.layout === undefined
        ? await layoutOf(file)
        : oneOf("--layout", options.layout, layouts);
    return importRepoFile(file, { ...common, layout });
  }
  const { importCoco, importRows } = await import("../data/import-file.ts");
  if (form === "coco") {
    const { cocoQuestions } = await import("../data/forms/coco.ts");
    return importCoco(file, oneOf("--ask", options.ask ?? "click", cocoQuestions), common);
  }
  const { formNames } = await import("../data/forms/table.ts");
  return importRows(file, oneOf("data import: the form", form, formNames), common);
}

function told(what: string, counts: Readonly<Record<string, number>>): string[] {
  return Object.keys(counts).length === 0 ? [] : [`${what}: ${inWords(counts)}`];
}

function counted(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

function inWords(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([word, n]) => `${n} ${word}`)
    .join(", ");
}
