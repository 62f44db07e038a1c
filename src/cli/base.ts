/** `vigorl base`: trains the nano base model from random weights on generated scenes. */
import { Command } from "commander";
import { loadConfig } from "../core/config.ts";
import { findPath } from "../core/paths.ts";
import type { Verb } from "./frame.ts";

export function baseVerb(): Verb {
  return {
    command: new Command("base")
      .description("train the nano base model from random weights")
      .argument("[recipe]", "a recipe in YAML", "recipes/nano-base.yaml")
      .option("--out <folder>", "folder that holds the runs", "runs")
      .option("--resume", "go on where it was stopped")
      .option("--overwrite", "remove a run of this name and start again"),
    run: async (context, [recipePath = ""], options) => {
      const { baseRecipeSchema, trainBase } = await import("../nano/base.ts");
      const recipe = loadConfig(findPath(recipePath), baseRecipeSchema, context.overrides);
      const result = await trainBase({
        recipe,
        resume: options.resume === true,
        overwrite: options.overwrite === true,
        runsFolder: String(options.out),
        quiet: context.quiet,
        signal: context.signal,
      });
      const figures = Object.entries(result.figures).map(
        ([name, value]) => `${name} ${value.toPrecision(3)}`,
      );
      const text = [`${result.steps} steps`, ...figures].join(", ");
      return { json: { ...result }, text: `${text}\n${result.folder}` };
    },
  };
}
