/** `vigorl sft`: warm start on the model's own right episodes, or on the chains of a search. */
import { formatDuration } from "../core/progress.ts";
import { spokenSections, type Verb } from "./frame.ts";
import { recipeCommand, recipeRun, sayResume } from "./recipe-options.ts";

export function sftVerb(): Verb {
  return {
    command: recipeCommand(
      "sft",
      "warm start on the model's own right episodes, or on chains of a search",
    ),
    keys: [...spokenSections, "sft"],
    run: async (context, [recipePath], options) => {
      const stage = await recipeRun(context, recipePath, options);
      const { engine } = stage.recipe;
      const { needsOf } = await import("../engine-plan.ts");
      const { processorFolder, requireOfKind } = await import("../engine/open.ts");
      requireOfKind(engine, needsOf("sft", stage.recipe));
      processorFolder(engine);
      const { loadTasks } = await import("../recipe.ts");
      const { sftStage } = await import("../stages.ts");
      const tasks = await loadTasks(stage.recipe, "train");
      await sayResume(stage, context.say);
      const result = await sftStage(stage, engine, tasks);
      const { examples, episodes, correct, chains } = result.notes;
      const source =
        chains === undefined
          ? `${correct} of ${episodes} episodes were right; trained on ${examples} of them`
          : `trained on ${examples} of ${chains} chains`;
      return {
        json: { ...result },
        text: `${source}, ${result.steps} steps, ${formatDuration(result.seconds)}\n${result.folder}`,
      };
    },
  };
}
