/** `vigorl rl`: GRPO on grounded episodes. */
import { formatDuration } from "../core/progress.ts";
import { spokenSections, type Verb } from "./frame.ts";
import { recipeCommand, recipeRun, sayResume } from "./recipe-options.ts";

export function rlVerb(): Verb {
  return {
    command: recipeCommand("rl", "reinforcement learning: GRPO, single-turn or with tools"),
    keys: [...spokenSections, "rl"],
    run: async (context, [recipePath], options) => {
      const stage = await recipeRun(context, recipePath, options);
      const { engine } = stage.recipe;
      const { needsOf } = await import("../engine-plan.ts");
      const { processorFolder, requireOfKind } = await import("../engine/open.ts");
      requireOfKind(engine, needsOf("rl", stage.recipe));
      processorFolder(engine);
      const { loadTasks } = await import("../recipe.ts");
      const { rlStage } = await import("../stages.ts");
      const tasks = await loadTasks(stage.recipe, "train");
      await sayResume(stage, context.say);
      const result = await rlStage(stage, engine, tasks);
      return {
        json: { ...result },
        text: `${result.steps} steps, ${formatDuration(result.seconds)}\n${result.folder}`,
      };
    },
  };
}
