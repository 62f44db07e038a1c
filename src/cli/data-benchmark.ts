/**
 * `vigorl data get`: a published benchmark into the hub's cache. `vigorl data import NAME FOLDER`: its
 * questions as a dataset of ours.
 */
import { VigorlError } from "../core/errors.ts";
import { programName } from "../core/paths.ts";
import { textOf, type Context, type Options, type Result } from "./frame.ts";

export async function getBenchmark(
  name: string | undefined,
  options: Options,
  { say, signal }: Context,
): Promise<Result> {
  if (name === undefined)
    throw new VigorlError("usage", "data get: which benchmark?", {
      hint: `${programName} data get vstar   (${programName} eval --list shows all)`,
    });
  const { benchmarkOf } = await import("../eval/benchmarks/table.ts");
  const { getBenchmark: get } = await import("../eval/benchmarks/load.ts");
  const benchmark = benchmarkOf(name);
  const { folder, revision } = await get(benchmark, splitOf(options, benchmark.splits), {
    say,
    signal,
  });
  const text = `${folder}\nrevision ${revision}\nask it with ${programName} eval --benchmark ${name}`;
  return { json: { benchmark: name, folder, revision }, text };
}

/** Null where the name is no benchmark's. */
export async function importBenchmark(
  name: string | undefined,
  folder: string | undefined,
  options: Options,
  { signal }: Context,
): Promise<Result | null> {
  const { benchmarkNames, benchmarkOf } = await import("../eval/benchmarks/table.ts");
  if (name === undefined || !benchmarkNames.includes(name)) return null;
  const out = textOf(options.out);
  if (out === undefined)
    throw new VigorlError("usage", `data import ${name}: where to?`, {
      hint: `${programName} data import ${name} FOLDER --out ${name}.jsonl`,
    });
  const { benchmarkFolder, loadBenchmark } = await import("../eval/benchmarks/load.ts");
  const { writeDataset } = await import("../data/write.ts");
  const benchmark = benchmarkOf(name);
  const split = splitOf(options, benchmark.splits);
  const from = await benchmarkFolder(benchmark, folder);
  const { records, layout, notes } = await loadBenchmark(benchmark, from, { split, signal });
  const count = await writeDataset(out, records, { images: "reference" });
  const text = [`${count} records from ${layout}`, ...notes, out].join("\n");
  return { json: { file: out, count, layout, notes }, text };
}

/** `--split` has a default for other actions, which is no choice here. */
function splitOf({ split }: Options, splits: readonly string[]): string | undefined {
  const given = textOf(split);
  return given === "train" && !splits.includes(given) ? undefined : given;
}
