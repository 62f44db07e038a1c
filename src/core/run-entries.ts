/**
 * What a run makes in its folder, and how a run is removed: these files and folders and no others.
 * Notes and other files that somebody laid beside them stay where they are.
 */
import { readdir, rm, rmdir } from "node:fs/promises";
import { errno } from "./errors.ts";
import { ioError, isUnfinished } from "./files.ts";
import { inside } from "./inside.ts";
import { sinkNames } from "./metric-sinks.ts";

/** Names in a run's folder. Stages of a pipeline are runs of their own in it. */
export const runEntries = [
  ...sinkNames,
  "manifest.json",
  "metrics.jsonl",
  "traces.jsonl",
  "images",
  "checkpoints",
  "log.jsonl",
  "search.json",
  "trees.jsonl",
  "failures.jsonl",
  "compare.json",
  "chains.jsonl",
  "chains.json",
  "trees",
  "sharegpt.json",
  "dataset_info.json",
  "chains.parquet",
  "chains-paths.parquet",
  "examples.jsonl",
  "collected.json",
  "eval",
  "judgements",
  "stages",
  "weights.json",
  "replay.json",
  "replay.md",
  "behaviours.json",
  "leaks.json",
  "behaviours.html",
  "report.json",
  "report.md",
  "report.html",
  "results.json",
  "results.md",
  "results.html",
  "seeds",
  "model",
  "model.files",
  "curves.svg",
] as const;
export type RunEntry = (typeof runEntries)[number];

/**
 * Removes what the run in `path` made, and the folder where nothing else is left in it. `isRun` says
 * which folders in it are runs themselves. @throws VigorlError("input" | "io")
 */
export async function removeRun(
  path: string,
  isRun: (path: string) => Promise<boolean>,
): Promise<void> {
  const own = new Set<string>(runEntries);
  try {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      const { name } = entry;
      if (own.has(name) || isUnfinished(name))
        await rm(inside(path, name), { recursive: true, force: true });
      else if (entry.isDirectory() && (await isRun(inside(path, name))))
        await removeRun(inside(path, name), isRun);
    }
    await rmdir(path);
  } catch (error) {
    if (errno(error) !== "ENOTEMPTY") throw ioError(error, path);
  }
}
