/** `vigorl rl`: GRPO on grounded episodes. */
import type { StageOptions } from "../stages/stage.ts";
import { dryRun } from "./dry-run.ts";
import { spokenSections, type Context, type Result, type Verb } from "./frame.ts";
import { recipeCommand, recipeRun, sayResume } from "./recipe-options.ts";
import { sayNotes, trainedText } from "./training.ts";

const keys = [...spokenSections, "lora", "rl"];

export function rlVerb(): Verb {
  return {
    command: recipeCommand("rl", "reinforcement learning: GRPO, single-turn or with tools"),
    keys,
    run: async (context, [recipePath], options) => {
      const stage = await recipeRun(context, recipePath, options);
      return options.dryRun === true
        ? dryRun(stage.recipe, "rl", context, keys)
        : runRl(stage, context);
    },
  };
}

/** Trains on rewards, anew or going on. */
export async function runRl(stage: StageOptions, context: Context): Promise<Result> {
  const { engine } = stage.recipe;
  const { needsOf } = await import("../engine-plan.ts");
  const { processorFolder, requireOfKind } = await import("../engine/open.ts");
  requireOfKind(engine, needsOf("rl", stage.recipe));
  processorFolder(engine);
  const { loadTasks } = await import("../recipe.ts");
  const { rlStage } = await import("../stages/rl.ts");
  const tasks = await loadTasks(stage.recipe, "train");
  sayNotes(tasks, context.say);
  await sayResume(stage, context.say);
  const result = await rlStage(stage, engine, tasks);
  return { json: { ...result }, text: trainedText(result).join("\n") };
}
