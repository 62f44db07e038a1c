/**
 * `vigorl data`: `nano` writes questions of the nano world as a dataset with its images, `check`
 * reads a dataset through and says what is in it or which line is wrong.
 */
import { Command } from "commander";
import { VigorlError } from "../core/errors.ts";
import { oneOf, wholeNumber, type Context, type Result, type Verb, type Options } from "./frame.ts";

export function dataVerb(): Verb {
  return {
    command: new Command("data")
      .description("make and check datasets")
      .argument("<action>", "nano: write nano questions; check: read a dataset through")
      .argument("[file]", "check: the dataset, .jsonl or .parquet")
      .option("--task <name>", "nano: a task of the nano world", "search")
      .option("--split <name>", "nano: train or heldout", "train")
      .option("--count <number>", "nano: how many", "1000")
      .option("--seed <number>", "nano: seed", "1")
      .option("--images <folder>", "check: folder of the images; default the file's own")
      .option("--out <file>", "nano: where to write, .jsonl (images beside it) or .parquet"),
    run: async (context, [action, file], options) =>
      oneOf("data: the action", action, ["nano", "check"]) === "nano"
        ? writeNano(options)
        : check(file, options, context),
  };
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
