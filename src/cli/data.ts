/**
 * `vigorl data`: `nano` writes questions of the nano world as a dataset with its images, `check`
 * reads a dataset through and says what is in it or which line is wrong, `show` makes it visible,
 * `split` holds a part of it out, `import` turns files of others into datasets.
 */
import { programName } from "../core/paths.ts";
import { Command } from "commander";
import { VigorlError } from "../core/errors.ts";
import { getBenchmark, importBenchmark } from "./data-benchmark.ts";
import { importDataset } from "./data-import.ts";
import { showDataset } from "./data-show.ts";
import { splitDataset } from "./data-split.ts";
import { oneOf, wholeNumber, type Context, type Result, type Verb, type Options } from "./frame.ts";

export function dataVerb(): Verb {
  return {
    command: new Command("data")
      .description("make, check, look at, split and import datasets")
      .argument(
        "<action>",
        "nano: write nano questions; check: read a dataset through; show: as a table and a page; split: train and held out; import: take over a file of others, or a benchmark; get: fetch a benchmark",
      )
      .argument(
        "[what]",
        "check, show, split: the dataset, .jsonl or .parquet; get: a benchmark; import: a benchmark, or a form, one of repo, coco, sharegpt, messages, easyr1, trl, csv, jsonl",
      )
      .argument(
        "[file]",
        "import: the benchmark's folder, or the file: .jsonl, .json, .csv, .tsv or .parquet",
      )
      .option("--task <name>", "nano: a task of the nano world", "search")
      .option("--split <name>", "nano: train or heldout", "train")
      .option("--count <number>", "nano: how many, 1000; show: how many on the page, 60")
      .option("--seed <number>", "nano, split: seed", "1")
      .option("--share <number>", "split: part of the records to hold out", "0.2")
      .option("--images <folder>", "folder of the images; default the file's own")
      .option("--layout <name>", "import repo: rl or eval; default the one that the first line has")
      .option("--ask <what>", "import coco: click or count; default click")
      .option("--kind <name>", "import: what all answers are; default found out line by line")
      .option(
        "--out <file>",
        "nano, import: where to write, .jsonl or .parquet (which holds the images); import .jsonl names images where they lie; show: the page; split: a folder",
      ),
    run: async (context, [action, what, file], options) => {
      switch (
        oneOf("data: the action", action, ["nano", "check", "show", "split", "import", "get"])
      ) {
        case "nano":
          return writeNano(options);
        case "check":
          return check(what, options, context);
        case "show":
          return showDataset(what, options, context);
        case "split":
          return splitDataset(what, options, context);
        case "import":
          return (
            (await importBenchmark(what, file, options, context)) ??
            importDataset(what, file, options)
          );
        case "get":
          return getBenchmark(what, options, context);
      }
    },
  };
}

/** A record takes a few hundred bytes of memory. */
const maxNanoRecords = 10_000_000;

async function writeNano(options: Options): Promise<Result> {
  const { nanoRecords, nanoTaskNames } = await import("../nano/tasks.ts");
  const task = oneOf("--task", options.task, nanoTaskNames);
  const split = oneOf("--split", options.split, ["train", "heldout"]);
  const count = wholeNumber("--count", options.count ?? "1000", 1, maxNanoRecords);
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
      hint: `${programName} data check train.jsonl`,
    });
  }
  const { checkDataset } = await import("../data/check.ts");
  const imageRoot = options.images === undefined ? {} : { imageRoot: String(options.images) };
  const checked = await checkDataset(file, { ...imageRoot, signal });
  const { count, kinds, numGuessed, warnings, numWarnings } = checked;
  const parts = Object.entries(kinds).map(([kind, n]) => `${n} ${kind}`);
  const guessed = numGuessed === 0 ? "" : `; the kind of ${numGuessed} is guessed`;
  const noted = numWarnings === 0 ? [] : [`${numWarnings} warnings`, ...warnings];
  return {
    json: { file, ...checked },
    text: [`${count} records: ${parts.join(", ")}${guessed}`, ...noted].join("\n"),
  };
}
