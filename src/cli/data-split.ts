/** `vigorl data split`: a dataset in two files, no image on both sides. */
import { programName } from "../core/paths.ts";
import { basename, dirname, extname, join } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { inside } from "../core/inside.ts";
import { textOf, wholeNumber, type Context, type Options, type Result } from "./frame.ts";

export async function splitDataset(
  file: string | undefined,
  options: Options,
  { signal }: Context,
): Promise<Result> {
  if (file === undefined) {
    throw new VigorlError("usage", "data split: which file?", {
      hint: `${programName} data split own.jsonl --share 0.2`,
    });
  }
  const share = Number(options.share);
  if (!(share > 0 && share < 1))
    throw new VigorlError(
      "usage",
      `--share must lie between 0 and 1 (got ${String(options.share)})`,
    );
  const seed = wholeNumber("--seed", options.seed);
  const { readDataset } = await import("../data/dataset.ts");
  const { splitByImage } = await import("../data/split.ts");
  const { writeDataset } = await import("../data/write.ts");
  const imageRoot = options.images === undefined ? {} : { imageRoot: String(options.images) };
  const records = await readDataset(file, imageRoot);
  if (records.length === 0) throw new VigorlError("input", `${file}: holds no records`);
  const { train, heldout, numGroups } = await splitByImage(records, { share, seed, signal });
  const extension = extname(file);
  const name = basename(file, extension);
  const folder = textOf(options.out) ?? dirname(file);
  const files = {
    train: inside(folder, `${name}-train${extension}`),
    heldout: inside(folder, `${name}-heldout${extension}`),
  };
  await writeDataset(files.train, train, { images: "reference" });
  await writeDataset(files.heldout, heldout, { images: "reference" });
  return {
    json: { ...files, numTrain: train.length, numHeldout: heldout.length, numGroups, seed },
    text: [
      `${records.length} records in ${numGroups} groups that share no image`,
      `${train.length}  ${join(files.train)}`,
      `${heldout.length}  ${join(files.heldout)}`,
    ].join("\n"),
  };
}
