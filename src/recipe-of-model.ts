/**
 * What goes with an engine when somebody just asks it something: the recipe that is named, that of the
 * run that trained the model, the nano recipe for the nano model, defaults for any other.
 */
import { dirname, resolve } from "node:path";
import { parseConfig, type Override } from "./core/config.ts";
import { findPath } from "./core/paths.ts";
import { isRunFolder, openRunFolder } from "./core/run-folder.ts";
import { loadRecipe, recipeSchema, type Recipe } from "./recipe.ts";
import { modelOf } from "./run-weights.ts";

/** What is asked, as the command line says it. */
export interface Asked {
  /** A model folder, a run folder, or with an engine by URL the server's name of the model. */
  readonly model?: string;
  /** A server. */
  readonly url?: string;
  /** A recipe's file. */
  readonly recipe?: string;
  readonly overrides: readonly Override[];
}

/** The recipe that says which engine is asked and how; what is asked goes before what is found. */
export async function recipeFor({ model, url, recipe, overrides }: Asked): Promise<Recipe> {
  const server = url ?? overrides.findLast(({ path }) => path === "engine.url")?.value;
  if (server !== undefined) {
    const flags = [
      { path: "engine.kind", value: "openai" },
      { path: "engine.url", value: server },
      ...(model === undefined ? [] : [{ path: "engine.model", value: model }]),
    ];
    const all = [...flags, ...overrides];
    const folder = overrides.findLast(({ path }) => path === "engine.folder")?.value;
    return recipe === undefined ? recipeOfFolder(folder, all) : loadRecipe(recipe, all);
  }
  if (model === undefined && recipe !== undefined) return loadRecipe(recipe, overrides);
  const folder = await modelOf(findPath(model ?? "models/nano"));
  const all = [...overrides, { path: "engine.model", value: folder }];
  return recipe === undefined ? recipeOfFolder(folder, all) : loadRecipe(recipe, all);
}

async function recipeOfFolder(
  folder: string | undefined,
  overrides: readonly Override[],
): Promise<Recipe> {
  if (folder === undefined) return parseConfig("", "defaults", recipeSchema, overrides);
  const run = await runAround(folder);
  if (run !== null) {
    const { manifest } = await openRunFolder(run);
    const text = JSON.stringify(manifest.recipe);
    return parseConfig(text, `${run}/manifest.json`, recipeSchema, overrides);
  }
  if (resolve(findPath(folder)) === resolve(findPath("models/nano")))
    return loadRecipe("recipes/nano.yaml", overrides);
  return parseConfig("", "defaults", recipeSchema, overrides);
}

/** The run that a checkpoint belongs to: `<run>/checkpoints/step-N`. */
async function runAround(folder: string): Promise<string | null> {
  const run = dirname(dirname(resolve(folder)));
  return (await isRunFolder(run)) ? run : null;
}
