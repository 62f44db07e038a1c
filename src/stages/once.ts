/** A stage of a longer run is done once: its result stands in a file when it is. */
import { existsSync } from "node:fs";
import { relative, sep } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "../core/files.ts";
import { inside } from "../core/inside.ts";
import { readJsonFile } from "../core/json-file.ts";
import type { Staged } from "./stage.ts";

const stagedSchema = z.strictObject({
  /** Relative to the run, so that a run can be moved. */
  folder: z.string(),
  weights: z.string().optional(),
  seconds: z.number(),
  notes: z.record(z.string(), z.number()),
});

/** Does a stage, or reads back what it left: `stages/<name>.json` in the folder of the longer run. */
export async function stagedOnce(
  run: string,
  name: string,
  work: () => Promise<Staged>,
): Promise<Staged> {
  const done = await stagedBefore(run, name);
  if (done !== null) return done;
  const { folder, weights, seconds, notes } = await work();
  const kept = weights === undefined ? {} : { weights };
  const place = relative(run, folder).replaceAll(sep, "/");
  const staged = { folder: place, ...kept, seconds, notes };
  await writeFileAtomic(stagedFile(run, name), `${JSON.stringify(staged, null, 2)}\n`);
  return { ...staged, folder };
}

/** What a finished stage left; null where it is not finished. @throws VigorlError("input") for a damaged file */
export async function stagedBefore(run: string, name: string): Promise<Staged | null> {
  const file = stagedFile(run, name);
  if (!existsSync(file)) return null;
  const hint = `remove ${file}; --resume does this stage again`;
  const done = await readJsonFile(file, stagedSchema, hint);
  return { ...done, folder: inside(run, ...done.folder.split("/")) };
}

function stagedFile(run: string, name: string): string {
  return inside(run, "stages", `${name}.json`);
}
