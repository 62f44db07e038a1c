/** `vigorl sft`: training on examples: labels, the model's own right episodes, or chains. */
import type { TaskSet } from "../recipe.ts";
import type { StageOptions } from "../stages/stage.ts";
import type { Trained } from "../stages/training.ts";
import type { SftConfig } from "../train/sft-config.ts";
import type { ChainSource } from "../stages/warm-start.ts";
import { dryRun } from "./dry-run.ts";
import { spokenSections, type Context, type Result, type Verb } from "./frame.ts";
import { recipeCommand, recipeRun, sayResume } from "./recipe-options.ts";
import { sayNotes, trainedText } from "./training.ts";

const keys = [...spokenSections, "lora", "sft"];

export function sftVerb(): Verb {
  return {
    command: recipeCommand(
      "sft",
      "train on true answers, on the model's own right episodes, or on chains of a search",
    ),
    keys,
    run: async (context, [recipePath], options) => {
      const stage = await recipeRun(context, recipePath, options);
      return options.dryRun === true
        ? dryRun(stage.recipe, "sft", context, keys)
        : runSft(stage, context);
    },
  };
}

/** Trains on examples, anew or going on. */
export async function runSft(stage: StageOptions, context: Context): Promise<Result> {
  const { engine } = stage.recipe;
  const { needsOf } = await import("../engine-plan.ts");
  const { processorFolder, requireOfKind } = await import("../engine/open.ts");
  requireOfKind(engine, needsOf("sft", stage.recipe));
  processorFolder(engine);
  const { loadTasks } = await import("../recipe.ts");
  const { sftStage } = await import("../stages/sft.ts");
  const tasks = await loadTasks(stage.recipe, "train");
  sayNotes(tasks, context.say);
  await sayResume(stage, context.say);
  const chains = await searched(stage, tasks, context.say);
  const result = await sftStage(stage, engine, tasks, chains);
  return {
    json: { ...result },
    text: [sourceText(stage.recipe.sft.from, result.notes), ...trainedText(result)].join("\n"),
  };
}

/** With `sft.from: search` the chains of a search that is a run of its own beside this one. */
async function searched(
  stage: StageOptions,
  tasks: readonly TaskSet[],
  say: Context["say"],
): Promise<ChainSource | undefined> {
  const { recipe } = stage;
  if (recipe.sft.from !== "search") return undefined;
  const { growChains } = await import("../stages/search.ts");
  const path = `${stage.path}-search`;
  say(`${path}: grows trees and cuts them into chains`);
  const resume = !stage.overwrite;
  const search = { ...stage, recipe: { ...recipe, name: `${recipe.name}-search` }, path, resume };
  const { folder } = await growChains(search, recipe.engine, tasks);
  return { from: folder, maxExamples: null };
}

function sourceText(from: SftConfig["from"], notes: Trained["notes"]): string {
  const { examples, episodes, correct, chains, records } = notes;
  if (from === "collect")
    return `${correct} of ${episodes} episodes were right; trained on ${examples} of them`;
  if (from !== "answers") return `trained on ${examples} of ${chains} chains`;
  const forms = (["bare", "thought", "grounded", "look"] as const).flatMap((form) =>
    notes[form] === undefined ? [] : [`${notes[form]} ${form}`],
  );
  return `trained on the answers of ${examples} of ${records} records: ${forms.join(", ")}`;
}
