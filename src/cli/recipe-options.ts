/**
 * What the verbs that take a recipe have in common: the argument, the flags for the commonest keys,
 * the run folder, `--resume` and `--overwrite`.
 */
import { Command } from "commander";
import type { Override } from "../core/config.ts";
import { VigorlError } from "../core/errors.ts";
import { inside } from "../core/inside.ts";
import { isRunFolder } from "../core/run-folder.ts";
import type { Recipe } from "../recipe.ts";
import type { StageOptions } from "../stages/stage.ts";
import { textOf, type Context, type Options } from "./frame.ts";

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
    .option("--profile <name>", "profile: of every section that names none of its own")
    .option("--model <folder>", "engine.model: a model or run folder; default the recipe's")
    .option("--seed <number>", "seed; default the recipe's")
    .option("--device <device>", "engine.device: auto, cpu, cuda or cuda:N")
    .option("--dtype <dtype>", "engine.dtype: auto, float32 or bfloat16")
    .option("--threads <number>", "engine.threads: threads of the tensor engine")
    .option("--log <sinks>", "log: sinks besides metrics.jsonl, such as tensorboard")
    .option("--out <folder>", "folder that holds the runs", "runs")
    .option("--dry-run", "say what it will do and hold, and how long it will take; keep nothing")
    .option("--resume", "go on with a run that was stopped")
    .option("--changed-inputs", "with --resume: though data or weights were changed meanwhile")
    .option("--overwrite", "remove a run of this name and start again");
}

/** Adds `--url` to a verb whose engine only has to sample. */
export function withUrl(command: Command): Command {
  return command.option(
    "--url <url>",
    "ask the server there: engine.kind openai, and engine.url; prompts are in the format of --engine.folder=…",
  );
}

/** Has `load` read the recipe, flags and overrides applied, and looks at the place that the run goes to. */
export async function recipeRun(
  context: Context,
  recipePath: string | undefined,
  options: Options,
  load: (path: string, overrides: readonly Override[]) => Promise<Recipe> = recipeAt,
): Promise<StageOptions> {
  const overrides = [...flagsOf(options), ...context.overrides];
  const { withRunWeights } = await import("../run-weights.ts");
  const recipe = await withRunWeights(await load(recipePath ?? "", overrides));
  if (options.resume === true && options.overwrite === true)
    throw new VigorlError("usage", "--resume and --overwrite exclude each other");
  if (options.changedInputs === true && options.resume !== true)
    throw new VigorlError("usage", "--changed-inputs is said with --resume");
  const place = {
    recipe,
    path: inside(String(options.out), recipe.name),
    resume: options.resume === true,
    overwrite: options.overwrite === true,
    changedInputs: options.changedInputs === true,
  };
  const { checkRun } = await import("../stages/run.ts");
  await checkRun(place);
  const { command, quiet, signal } = context;
  return { ...place, command, quiet, signal };
}

export async function recipeAt(path: string, overrides: readonly Override[]): Promise<Recipe> {
  const { loadRecipe } = await import("../recipe.ts");
  return loadRecipe(path, overrides);
}

/** The common flags as overrides of the recipe's keys. */
export function flagsOf(options: Options): Override[] {
  const url = textOf(options.url);
  const values: [path: string, value: string | undefined][] = [
    ["engine.kind", url === undefined ? undefined : "openai"],
    ["engine.url", url],
    ["engine.model", textOf(options.model)],
    ["engine.device", textOf(options.device)],
    ["engine.dtype", textOf(options.dtype)],
    ["engine.threads", textOf(options.threads)],
    ["profile", textOf(options.profile)],
    ["name", textOf(options.name)],
    ["seed", textOf(options.seed)],
    ["log", options.log === undefined ? undefined : `[${String(options.log)}]`],
  ];
  return values.flatMap(([path, value]) => (value === undefined ? [] : [{ path, value }]));
}

/** `--resume` on a folder without a run starts from the beginning, and says so. */
export async function sayResume(
  { path, resume }: StageOptions,
  say: Context["say"],
): Promise<void> {
  if (resume && !(await isRunFolder(path)))
    say(`${path}: no run to resume; starting from the beginning`);
}
