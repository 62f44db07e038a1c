/**
 * `vigorl data`: `nano` writes questions of the nano world as a dataset with its images, `check`
 * reads a dataset through and says what is in it or which line is wrong, `import` turns files of
 * others into datasets.
 */
import { dirname, resolve } from "node:path";
import { Command } from "commander";
import { VigorlError } from "../core/errors.ts";
import {
  oneOf,
  textOf,
  wholeNumber,
  type Context,
  type Result,
  type Verb,
  type Options,
} from "./frame.ts";

export function dataVerb(): Verb {
  return {
    command: new Command("data")
      .description("make, check and import datasets")
      .argument(
        "<action>",
        "nano: write nano questions; check: read a dataset through; import: take over a file of others",
      )
      .argument("[what]", "check: the dataset, .jsonl or .parquet; import: its form, repo")
      .argument("[file]", "import: the file, .jsonl as the paper's repository publishes it")
      .option("--task <name>", "nano: a task of the nano world", "search")
      .option("--split <name>", "nano: train or heldout", "train")
      .option("--count <number>", "nano: how many", "1000")
      .option("--seed <number>", "nano: seed", "1")
      .option("--images <folder>", "check, import: folder of the images; default the file's own")
      .option("--layout <name>", "import: rl or eval; default the one that the first line has")
      .option("--kind <name>", "import: what all answers are; default found out line by line")
      .option(
        "--out <file>",
        "nano, import: where to write, .jsonl or .parquet (which holds the images); import .jsonl names images where they lie",
      ),
    run: async (context, [action, what, file], options) => {
      switch (oneOf("data: the action", action, ["nano", "check", "import"])) {
        case "nano":
          return writeNano(options);
        case "check":
          return check(what, options, context);
        case "import":
          return importFile(what, file, options);
      }
    },
  };
}

async function importFile(
  form: string | undefined,
  file: string | undefined,
  options: Options,
): Promise<Result> {
  oneOf("data import: the form", form, ["repo"]);
  const out = textOf(options.out);
  if (file === undefined || out === undefined) {
    throw new VigorlError("usage", "data import: which file, and where to?", {
      hint: "./vigorl data import repo vigorl_sat2_RL.jsonl --images images --out sat2.jsonl",
    });
  }
  if (resolve(out) === resolve(file))
    throw new VigorlError("usage", `data import: --out ${out} is the file that is read`);
  const { importRepoFile, layouts, layoutOf } = await import("../data/import-repo.ts");
  const { kindNames } = await import("../task/kinds.ts");
  const { writeDataset } = await import("../data/write.ts");
  const imported = await importRepoFile(file, {
    layout:
      options.layout === undefined
        ? await layoutOf(file)
        : oneOf("--layout", options.layout, layouts),
    imageRoot: textOf(options.images) ?? dirname(file),
    ...(options.kind === undefined ? {} : { kind: oneOf("--kind", options.kind, kindNames) }),
  });
  const { records, dropped, droppedFields } = imported;
  const reasons = counted(dropped.map(({ reason }) => reason));
  if (records.length === 0) {
    throw new VigorlError("input", `${file}: none of ${dropped.length} lines became a record`, {
      hint: dropped.length === 0 ? "it is empty" : inWords(reasons),
    });
  }
  const count = await writeDataset(out, records, { images: "reference" });
  const kinds = counted(records.map(({ kind }) => kind));
  const { length: numDropped } = dropped;
  const lines = [
    `${count} records: ${inWords(kinds)}`,
    ...(numDropped === 0 ? [] : [`${numDropped} lines dropped: ${inWords(reasons)}`]),
    ...dropped.slice(0, 20).map(({ line, reason }) => `  line ${line}: ${reason}`),
    ...(Object.keys(droppedFields).length === 0
      ? []
      : [`fields that no record keeps: ${inWords(droppedFields)}`]),
    out,
  ];
  return {
    json: { file: out, count, kinds, numDropped, reasons, dropped, droppedFields },
    text: lines.join("\n"),
  };
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

/** A record takes a few hundred bytes of memory. */
const maxNanoRecords = 10_000_000;

async function writeNano(options: Options): Promise<Result> {
  const { nanoRecords, nanoTaskNames } = await import("../nano/tasks.ts");
  const task = oneOf("--task", options.task, nanoTaskNames);
  const split = oneOf("--split", options.split, ["train", "heldout"]);
  const count = wholeNumber("--count", options.count, 1, maxNanoRecords);
  const seed = wholeNumber("--seed", options.seed);
  const out = String(options.out ?? `data/nano-${task}-${split}.jsonl`);
  const { writeDataset } = await import("../data/write.ts");
  await writeDataset(out, nanoRecords({ task, split, count, seed }), { images: "copy" });
  return { json: { file: out, task, split, count, seed }, text: `${count} questions\n${out}` };
}

async function check(
  file: string | undefined,
  options: Options,
  { signal }: Context,
): Promise<Result> {
  if (file === undefined) {
    throw new VigorlError("usage", "data check: which file?", {
      hint: "./vigorl data check train.jsonl",
    });
  }
  const { checkDataset } = await import("../data/check.ts");
  const imageRoot = options.images === undefined ? {} : { imageRoot: String(options.images) };
  const checked = await checkDataset(file, { ...imageRoot, signal });
  const { count, kinds, warnings, numWarnings } = checked;
  const parts = Object.entries(kinds).map(([kind, n]) => `${n} ${kind}`);
  const noted = numWarnings === 0 ? [] : [`${numWarnings} warnings`, ...warnings];
  return {
    json: { file, ...checked },
    text: [`${count} records: ${parts.join(", ")}`, ...noted].join("\n"),
  };
}
