/** `vigorl base`: trains the nano base model from random weights on generated scenes. */
import { Command } from "commander";
import { loadConfig } from "../core/config.ts";
import { findPath } from "../core/paths.ts";
import type { TrainBaseOptions } from "../nano/base.ts";
import { dryBase } from "./dry-run.ts";
import type { Context, Result, Verb } from "./frame.ts";

export function baseVerb(): Verb {
  return {
    command: new Command("base")
      .description("train the nano base model from random weights")
      .argument("[recipe]", "a recipe in YAML", "recipes/nano-base.yaml")
      .option("--out <folder>", "folder that holds the runs", "runs")
      .option("--dry-run", "say what it will do and hold, and how long it will take; train nothing")
      .option("--resume", "go on where it was stopped")
      .option("--overwrite", "remove a run of this name and start again"),
    run: async (context, [recipePath = ""], options) => {
      const { baseRecipeSchema } = await import("../nano/base-recipe.ts");
      const recipe = loadConfig(findPath(recipePath), baseRecipeSchema, context.overrides);
      if (options.dryRun === true) return dryBase(recipe, context);
      const { inside } = await import("../core/inside.ts");
      const path = inside(String(options.out), recipe.name);
      const how = { resume: options.resume === true, overwrite: options.overwrite === true };
      return runBase({ recipe, path, ...how }, context);
    },
  };
}

/** Trains the base model, anew or going on. */
export async function runBase(
  options: Pick<TrainBaseOptions, "recipe" | "path" | "resume" | "overwrite">,
  { quiet, signal, command }: Context,
): Promise<Result> {
  const { trainBase } = await import("../nano/base.ts");
  const result = await trainBase({ ...options, quiet, signal, command });
  const figures = Object.entries(result.figures).map(
    ([name, value]) => `${name} ${value.toPrecision(3)}`,
  );
  const text = [`${result.steps} steps`, ...figures].join(", ");
  return { json: { ...result }, text: `${text}\n${result.folder}` };
}
