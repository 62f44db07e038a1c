/**
 * What goes with a model folder when somebody just asks it something: the recipe of the run that
 * trained it, the nano recipe for the nano model, defaults for any other.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { parseConfig, type Override } from "./core/config.ts";
import { VigorlError } from "./core/errors.ts";
import { parseAt } from "./core/jsonl.ts";
import { findPath } from "./core/paths.ts";
import { openRunFolder, isRunFolder } from "./core/run-folder.ts";
import { loadRecipe, recipeSchema, type Recipe } from "./recipe.ts";
import { newestCheckpoint } from "./train/checkpoint.ts";

/** The model folder that a path means: itself, or the newest weights of the run in it. */
export async function modelOf(path: string): Promise<string> {
  if (existsSync(join(path, "config.json")) || !(await isRunFolder(path))) return path;
  const stage = join(path, "stages", "rl-zoom.json");
  if (existsSync(stage)) {
    const schema = z.looseObject({ folder: z.string() });
    return parseAt(stage, JSON.parse(await readFile(stage, "utf8")), schema).folder;
  }
  const newest = await newestCheckpoint(join(path, "checkpoints"));
  if (newest !== undefined) return newest;
  throw new VigorlError("input", `${path}: this run has no weights yet`, {
    hint: "wait for its first checkpoint, or name a model folder",
  });
}

/** The recipe that says how to talk to a model; `recipe` and overrides go before what is found. */
export async function recipeOf(
  model: string,
  recipe: unknown,
  overrides: readonly Override[],
): Promise<Recipe> {
  if (typeof recipe === "string") return loadRecipe(recipe, overrides);
  const run = dirname(dirname(resolve(model)));
  if (await isRunFolder(run)) {
    const { manifest } = await openRunFolder(run);
    return parseConfig(
      JSON.stringify(manifest.recipe),
      `${run}/manifest.json`,
      recipeSchema,
      overrides,
    );
  }
  if (resolve(model) === resolve(findPath("models/nano")))
    return loadRecipe("recipes/nano.yaml", overrides);
  return parseConfig("", "defaults", recipeSchema, overrides);
}
