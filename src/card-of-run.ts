/** What a model that a run trains will say it is for (`vigorl.json` in each checkpoint). */
import type { Recipe, TaskSet } from "./recipe.ts";
import { readModelCard, type ModelCard } from "./task/model-card.ts";

/** The settings of a recipe that say how the model is spoken to. */
export function settingsOf(recipe: Recipe): ModelCard["settings"] {
  const { tools, dialect, thinking, episode, prompts, promptsNoTool, image, coordinates } = recipe;
  const { answerForm } = recipe;
  const { temperature, topP, topK } = recipe.eval;
  const spoken = {
    tools,
    dialect,
    thinking,
    episode,
    prompts,
    promptsNoTool,
    image,
    coordinates,
    answerForm,
  };
  return JSON.parse(
    JSON.stringify({ ...spoken, eval: { temperature, topP, topK } }),
  ) as ModelCard["settings"];
}

/**
 * What the model that it starts from says, with the settings of the run; without that, what it is
 * trained on.
 * @param folder of the model that it starts from
 */
export async function cardOfRun(
  verb: "sft" | "rl",
  recipe: Recipe,
  tasks: readonly TaskSet[],
  folder: string,
): Promise<ModelCard> {
  const before = await readModelCard(folder);
  const settings = settingsOf(recipe);
  if (before !== null) return { ...before, settings };
  const questions = tasks.flatMap(({ records }) => records.map(({ question }) => question));
  const examples = [...new Set(questions.filter(({ length }) => length <= 1000))].slice(0, 5);
  const about = `Trained by vigorl ${verb} on ${tasks.map(({ task }) => task).join(", ")}.`;
  return { version: 1, about: about.slice(0, 1000), settings, examples };
}
