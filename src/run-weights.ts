/**
 * Which weights of a run somebody means who names the run: those that it has recorded as its result, or
 * the newest of its checkpoints. Recorded relative to the run, so that runs can be moved.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { relative, sep } from "node:path";
import { z } from "zod";
import { VigorlError } from "./core/errors.ts";
import { writeFileAtomic } from "./core/files.ts";
import { isHubName } from "./core/hub.ts";
import { inside } from "./core/inside.ts";
import { readJsonFile } from "./core/json-file.ts";
import { isRunFolder, type RunFolder } from "./core/run-folder.ts";
import { withModelFolders } from "./engine/open.ts";
import { adapterConfigFile } from "./model/adapter-config.ts";
import { hubModelFolder } from "./model/hub-model.ts";
import type { Recipe } from "./recipe.ts";
import { newestCheckpoint, weightsOf } from "./train/checkpoint.ts";

const weightsSchema = z.strictObject({ version: z.literal(1), folder: z.string().min(1) });
const weightsFile = "weights.json";

/** Records the model folder that is the result of a run so far. */
export async function recordWeights(run: RunFolder, folder: string): Promise<void> {
  const weights = { version: 1 as const, folder: relative(run.path, folder).replaceAll(sep, "/") };
  await writeFileAtomic(run.file(weightsFile), `${JSON.stringify(weights)}\n`);
}

/** Forgets that result: a run that goes on may remove the checkpoint that it names. */
export async function forgetWeights(run: RunFolder): Promise<void> {
  await rm(run.file(weightsFile), { force: true });
}

/**
 * The model folder that a path means: itself, the weights of the run in it, or a model of the hub.
 * @throws VigorlError("input") for a run that has none
 */
export async function modelOf(path: string): Promise<string> {
  if (isHubName(path)) return hubModelFolder(path);
  const isModel = ["config.json", adapterConfigFile].some((file) => existsSync(inside(path, file)));
  if (isModel || !(await isRunFolder(path))) return path;
  const file = inside(path, weightsFile);
  if (existsSync(file)) {
    const hint = `name a model folder, or remove ${file} to take the newest checkpoint`;
    const { folder } = await readJsonFile(file, weightsSchema, hint);
    return onThisMachine(inside(path, ...folder.split("/")));
  }
  const newest = await newestCheckpoint(inside(path, "checkpoints"));
  if (newest !== undefined) return onThisMachine(newest);
  throw new VigorlError("input", `${path}: this run has no weights yet`, {
    hint: "wait for its first checkpoint, or name a model folder",
  });
}

/** A recipe with model folders in place of runs and names of the hub, in each of its engines. @throws as `modelOf` */
export async function withRunWeights(recipe: Recipe): Promise<Recipe> {
  const { engine, search, sft, eval: evaluation } = recipe;
  const { judge } = evaluation;
  const { teacher } = search;
  const collector = sft.collect.engine;
  return {
    ...recipe,
    engine: await withModelFolders(engine, modelOf),
    ...(teacher === undefined
      ? {}
      : { search: { ...search, teacher: await withModelFolders(teacher, modelOf) } }),
    ...(collector === undefined
      ? {}
      : {
          sft: {
            ...sft,
            collect: { ...sft.collect, engine: await withModelFolders(collector, modelOf) },
          },
        }),
    ...(typeof judge === "string"
      ? {}
      : {
          eval: {
            ...evaluation,
            judge: { ...judge, engine: await withModelFolders(judge.engine, modelOf) },
          },
        }),
  };
}

/** @throws VigorlError("usage") for a checkpoint that an engine keeps elsewhere */
async function onThisMachine(folder: string): Promise<string> {
  const isHere = ["config.json", adapterConfigFile].some((file) =>
    existsSync(inside(folder, file)),
  );
  if (isHere || !existsSync(inside(folder, "state.json"))) return folder;
  const weights = await weightsOf(folder);
  if (weights === folder) return folder;
  throw new VigorlError("usage", `${folder}: its weights are kept at ${weights}`, {
    hint: "name them in a recipe: engine.kind as in the manifest of this run, and engine.weights",
  });
}
