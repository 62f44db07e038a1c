/**
 * Checkpoints: `checkpoints/step-N/` is a model folder with the optimizer's state and a state.json
 * that lists every file with its size and hash; of an engine that keeps its weights elsewhere, a
 * state.json with their handle. It is written beside and renamed, so that one that
 * is there is whole; one that was cut later (a copied or truncated file) is refused with its name.
 * No random state is kept: every stream is keyed by the step that it serves.
 */
import { readdir, rm, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { z } from "zod";
import { errno, VigorlError } from "../core/errors.ts";
import {
  hashFile,
  ioError,
  replaceFolderAtomic,
  writeFileAtomic,
  wholeFolder,
  wholeNames,
} from "../core/files.ts";
import { inside, joinNames } from "../core/inside.ts";
import { parseAt } from "../core/jsonl.ts";
import { readText } from "../core/regular-file.ts";
import type { Learner } from "../engine/types.ts";

const stateSchema = z.strictObject({
  version: z.literal(1),
  verb: z.enum(["sft", "rl"]),
  /** Steps that are done. */
  step: z.int().min(0),
  /** Optimizer steps that are done; the schedule goes on from here. */
  updates: z.int().min(0),
  /** Of the weights, where the engine keeps them: they are not among the files then. */
  handle: z.string().min(1).optional(),
  /** Lines of the run's logs when it was written. */
  logs: z.record(z.string(), z.int()).default({}),
  files: z.array(z.strictObject({ name: z.string(), bytes: z.int(), sha256: z.string() })),
});

export type CheckpointState = z.infer<typeof stateSchema>;

/**
 * Saves step `state.step` under `checkpointsPath`, with `texts` by name beside the weights, and removes
 * all but the newest `keep` and that of the step `best`. Returns what the weights can be loaded from: the
 * folder, or the engine's handle.
 */
export async function saveCheckpoint(
  checkpointsPath: string,
  learner: Pick<Learner, "save" | "discard">,
  state: Omit<CheckpointState, "version" | "files" | "logs"> &
    Partial<Pick<CheckpointState, "logs">>,
  keep: number,
  best?: number,
  texts: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = inside(checkpointsPath, `step-${state.step}`);
  let handle: string | undefined;
  await replaceFolderAtomic(folder, async (beside) => {
    const saved = await learner.save(beside, { optimizer: true });
    if (saved.in === "engine") handle = saved.handle;
    for (const [name, text] of Object.entries(texts))
      await writeFileAtomic(inside(beside, name), text);
    const names = await listFiles(beside);
    const files = await Promise.all(
      names.map(async (name) => {
        const file = join(beside, name);
        return { name, bytes: (await stat(file)).size, sha256: await hashFile(file) };
      }),
    );
    const named = handle === undefined ? {} : { handle };
    const full: CheckpointState = { version: 1, logs: {}, ...state, ...named, files };
    await writeFileAtomic(join(beside, "state.json"), `${JSON.stringify(full, null, 2)}\n`);
  });
  await removeOlder(checkpointsPath, keep, learner, best);
  return handle ?? folder;
}

/**
 * Removes all checkpoints but the newest `keep` and that of the step `best`; what an engine keeps of them
 * is given up first.
 */
export async function removeOlder(
  checkpointsPath: string,
  keep: number,
  learner: Pick<Learner, "discard">,
  best?: number,
): Promise<void> {
  const steps = await checkpointSteps(checkpointsPath);
  for (const step of steps.slice(0, Math.max(0, steps.length - keep))) {
    if (step === best) continue;
    const folder = inside(checkpointsPath, `step-${step}`);
    if (learner.discard !== undefined) {
      const { handle } = await readState(folder);
      if (handle !== undefined) await learner.discard(handle);
    }
    await rm(folder, { recursive: true, force: true });
  }
}

/** Steps that have a checkpoint, rising. */
export async function checkpointSteps(checkpointsPath: string): Promise<number[]> {
  const names = await readdir(checkpointsPath).catch((error: unknown) => {
    if (errno(error) === "ENOENT") return [];
    throw ioError(error, checkpointsPath);
  });
  return wholeNames(names)
    .flatMap((name) => {
      const match = /^step-(\d+)$/.exec(name);
      return match ? [Number(match[1])] : [];
    })
    .sort((a, b) => a - b);
}

/** Folder of the newest checkpoint, or undefined where there is none. */
export async function newestCheckpoint(checkpointsPath: string): Promise<string | undefined> {
  const step = (await checkpointSteps(checkpointsPath)).at(-1);
  return step === undefined ? undefined : wholeFolder(join(checkpointsPath, `step-${step}`));
}

/**
 * Checks every file of a checkpoint against its list and hands weights and optimizer to the
 * learner. Throws VigorlError("input") that names the file and the way out.
 */
export async function loadCheckpoint(
  folder: string,
  learner: Pick<Learner, "load">,
): Promise<CheckpointState> {
  const state = await verifyCheckpoint(folder);
  await learner.load(state.handle ?? folder, { optimizer: true });
  return state;
}

/** What a checkpoint says of itself. @throws VigorlError("input") where that is damaged */
async function readState(folder: string): Promise<CheckpointState> {
  const file = join(folder, "state.json");
  let json: unknown;
  try {
    json = JSON.parse(await readText(file));
  } catch (error) {
    if (error instanceof SyntaxError || errno(error) === "ENOENT") damaged(folder, "state.json");
    throw ioError(error, file);
  }
  return parseAt(file, json, stateSchema);
}

/** What the weights of a checkpoint can be loaded from: its folder, or the engine's handle. */
export async function weightsOf(folder: string): Promise<string> {
  return (await readState(folder)).handle ?? folder;
}

/** The check alone. */
export async function verifyCheckpoint(folder: string): Promise<CheckpointState> {
  const state = await readState(folder);
  for (const { name, bytes, sha256 } of state.files) {
    const path = joinNames(folder, ...name.split("/"));
    const size = await stat(path).then(
      (entry) => entry.size,
      () => undefined,
    );
    if (size === undefined) damaged(folder, `${name} is missing`);
    if (size !== bytes) damaged(folder, `${name} has ${size} bytes, not ${bytes}`);
    if ((await hashFile(path)) !== sha256) damaged(folder, `${name} was changed`);
  }
  return state;
}

function damaged(folder: string, what: string): never {
  throw new VigorlError("input", `${folder}: damaged checkpoint: ${what}`, {
    hint: "remove this folder and start again with --resume; the run goes on from the one before",
  });
}

async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}
