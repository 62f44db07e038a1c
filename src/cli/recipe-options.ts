/**
 * What the verbs that take a recipe have in common: the argument, the flags for the commonest keys,
 * the run folder, `--resume` and `--overwrite`.
 */
import { Command } from "commander";
import type { Override } from "../core/config.ts";
import { VigorlError } from "../core/errors.ts";
import { inside } from "../core/inside.ts";
import { isRunFolder } from "../core/run-folder.ts";
import type { StageOptions } from "../stages.ts";
import type { Context, Options } from "./frame.ts";

/** A command `name [recipe]` with the common flags. */
export function recipeCommand(
  name: string,
  description: string,
  recipe = "recipes/nano.yaml",
): Command {
  return new Command(name)
    .description(description)
    .argument("[recipe]", "a recipe in YAML", recipe)
    .option("--name <name>", "name of the run; default the recipe's")
    .option("--model <folder>", "model folder to start from; default the recipe's")
    .option("--seed <number>", "seed; default the recipe's")
    .option("--device <device>", "auto, cpu, cuda or cuda:N; default the recipe's")
    .option("--dtype <dtype>", "float32 or bfloat16; default the recipe's")
    .option("--threads <number>", "threads of the tensor engine; default the recipe's")
    .option("--out <folder>", "folder that holds the runs", "runs")
    .option("--resume", "go on with a run that was stopped")
    .option("--overwrite", "remove a run of this name and start again");
}

/** Loads the recipe with flags and overrides applied, and says where the run goes. */
export async function recipeRun(
  context: Context,
  recipePath: string | undefined,
  options: Options,
): Promise<StageOptions> {
  const flags: Override[] = ["name", "model", "seed", "device", "dtype", "threads"]
    .filter((key) => typeof options[key] === "string")
    .map((path) => ({ path, value: String(options[path]) }));
  const { loadRecipe } = await import("../recipe.ts");
  const recipe = loadRecipe(recipePath ?? "", [...context.overrides, ...flags]);
  if (options.resume === true && options.overwrite === true)
    throw new VigorlError("usage", "--resume and --overwrite exclude each other");
  return {
    recipe,
    path: inside(String(options.out), recipe.name),
    resume: options.resume === true,
    overwrite: options.overwrite === true,
    quiet: context.quiet,
    signal: context.signal,
  };
}

/** `--resume` on a folder without a run starts from the beginning, and says so. */
export async function sayResume(
  { path, resume }: StageOptions,
  say: Context["say"],
): Promise<void> {
  if (resume && !(await isRunFolder(path)))
    say(`${path}: no run to resume; starting from the beginning`);
}
