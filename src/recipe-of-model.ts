/**
 * What goes with an engine when somebody just asks it something: the recipe that is named, that of the
 * run that trained the model, what the model says of itself (`vigorl.json`), and for any other what its
 * folder was published with.
 */
import { basename, dirname, join, resolve } from "node:path";
import { settingsOf } from "./card-of-run.ts";
import { keysWritten, parseConfig, type Override } from "./core/config.ts";
import { differencesOf } from "./core/differences.ts";
import { VigorlError } from "./core/errors.ts";
import { findPath } from "./core/paths.ts";
import { isRunFolder, openRunFolder } from "./core/run-folder.ts";
import { processorFolder } from "./engine/open.ts";
import { folderRecipe } from "./folder-recipe.ts";
import { loadRecipe, recipeOfManifest, recipeSchema, type Recipe } from "./recipe.ts";
import { modelOf, withRunWeights } from "./run-weights.ts";
import { cardFile, readModelCard } from "./task/model-card.ts";

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

/** Is told, a line each, what of a recipe comes from the files that a model was published with. */
type Say = (note: string) => void;

/** The recipe that says which engine is asked and how; what is asked goes before what is found. */
export async function recipeFor(asked: Asked, say: Say = () => undefined): Promise<Recipe> {
  return withRunWeights(await askedRecipe(asked, say));
}

async function askedRecipe({ model, url, recipe, overrides }: Asked, say: Say): Promise<Recipe> {
  const server = url ?? overrides.findLast(({ path }) => path === "engine.url")?.value;
  if (server !== undefined) {
    const flags = [
      { path: "engine.kind", value: "openai" },
      { path: "engine.url", value: server },
      ...(model === undefined ? [] : [{ path: "engine.model", value: model }]),
    ];
    const all = [...flags, ...overrides];
    const folder = overrides.findLast(({ path }) => path === "engine.folder")?.value;
    return recipe === undefined ? recipeOfFolder(folder, all, say) : loadRecipe(recipe, all);
  }
  if (model === undefined && recipe !== undefined) return loadRecipe(recipe, overrides);
  const folder = await modelOf(findPath(model ?? "models/nano"));
  const all = [...overrides, { path: "engine.model", value: folder }];
  return recipe === undefined ? recipeOfFolder(folder, all, say) : loadRecipe(recipe, all);
}

/**
 * A recipe for a model to be evaluated by: what it does not write of how the model is spoken to is as the
 * model says.
 * @returns notes what was taken over, and where the recipe speaks to the model in another way
 */
export async function recipeToEvaluate(
  path: string,
  overrides: readonly Override[],
): Promise<{ readonly recipe: Recipe; readonly notes: readonly string[] }> {
  const written = await withRunWeights(loadRecipe(path, overrides));
  const folder = folderOf(written);
  const card = folder === null ? null : await readModelCard(folder);
  if (folder === null) return { recipe: written, notes: [] };
  if (card === null) {
    const file = findPath(path);
    // A manifest has every key.
    if (basename(file) === "manifest.json") return { recipe: written, notes: [] };
    const own = keysWritten(file, "eval");
    const { recipe: published, notes } = await folderRecipe(folder, own);
    // Beside what the recipe's own section says; other sections are whole.
    const { eval: sampling = {}, ...sections } = published;
    const below = Object.entries(sampling as Readonly<Record<string, number>>)
      .filter(([key]) => !own.includes(key))
      .map(([key, value]) => ({ path: `eval.${key}`, value: String(value) }));
    const recipe = await withRunWeights(loadRecipe(path, [...below, ...overrides], sections));
    return { recipe, notes };
  }
  const { eval: _, ...spoken } = card.settings;
  const recipe = await withRunWeights(loadRecipe(path, overrides, spoken));
  const file = join(folder, cardFile);
  const own = parseConfig(JSON.stringify(spoken), file, recipeSchema);
  const [before, after, said] = [written, recipe, own].map(spokenSettings);
  const taken = Object.keys(after).filter(
    (key) => differencesOf(before[key], after[key]).length > 0,
  );
  const others = differencesOf(said, after);
  return {
    recipe,
    notes: [
      ...(taken.length > 0 ? [`${taken.join(", ")}: as ${file} says`] : []),
      ...(others.length > 0 ? [`not as ${file} says: ${others.slice(0, 3).join(", ")}`] : []),
    ],
  };
}

/** Null where it is not there, which is told when the place of the run has been looked at. */
function folderOf({ engine }: Recipe): string | null {
  try {
    return findPath(processorFolder(engine));
  } catch (error) {
    if (error instanceof VigorlError && error.code === "input") return null;
    throw error;
  }
}

function spokenSettings(recipe: Recipe): Record<string, unknown> {
  const { eval: _, ...spoken } = settingsOf(recipe);
  return spoken;
}

async function recipeOfFolder(
  folder: string | undefined,
  overrides: readonly Override[],
  say: Say,
): Promise<Recipe> {
  if (folder === undefined) return parseConfig("", "defaults", recipeSchema, overrides);
  const run = await runAround(folder);
  if (run !== null) {
    const { manifest } = await openRunFolder(run);
    return recipeOfManifest(`${run}/manifest.json`, manifest, overrides);
  }
  const own = findPath(folder);
  const card = await readModelCard(own);
  if (card !== null)
    return parseConfig(JSON.stringify(card.settings), join(own, cardFile), recipeSchema, overrides);
  const { recipe, notes } = await folderRecipe(own);
  notes.forEach(say);
  return parseConfig(JSON.stringify(recipe), own, recipeSchema, overrides);
}

/** The run that a checkpoint belongs to: `<run>/checkpoints/step-N`. */
export async function runAround(folder: string): Promise<string | null> {
  const run = dirname(dirname(resolve(folder)));
  return (await isRunFolder(run)) ? run : null;
}
