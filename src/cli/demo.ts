/** `vigorl demo`: from the base model through warm start and GRPO to a report, in one command. */
import type { StageOptions } from "../stages/stage.ts";
import { dryRun } from "./dry-run.ts";
import type { Context, Result, Verb } from "./frame.ts";
import { recipeCommand, recipeRun, sayResume } from "./recipe-options.ts";

export function demoVerb(): Verb {
  return {
    command: recipeCommand(
      "demo",
      "the whole pipeline: base, sft, rl without and with tools, report",
    ),
    keys: "all",
    run: async (context, [recipePath], options) => {
      const stage = await recipeRun(context, recipePath, options);
      return options.dryRun === true
        ? dryRun(stage.recipe, "demo", context)
        : runDemo(stage, context);
    },
  };
}

/** Runs the pipeline, anew or going on. */
export async function runDemo(stage: StageOptions, context: Context): Promise<Result> {
  await sayResume(stage, context.say);
  const { runPipeline } = await import("../pipeline.ts");
  const { reportText } = await import("../eval/report.ts");
  const { report, page } = await runPipeline(stage, context.command, context.say);
  return {
    json: { ...report, page },
    text: `${reportText(report)}\n\nOpen ${page} to see where it looked.`,
  };
}
