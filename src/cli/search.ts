/** `vigorl search`: grows a search tree for each question, with the model or a server as the teacher. */
import { spokenSections, textOf, type Context, type Result, type Verb } from "./frame.ts";
import { dryRun } from "./dry-run.ts";
import { recipeCommand, recipeRun, sayResume, withUrl } from "./recipe-options.ts";
import { formatDuration } from "../core/progress.ts";
import type { Share } from "../search/compare.ts";
import type { Searched } from "../stages/search.ts";
import type { StageOptions } from "../stages/stage.ts";
import { sayNotes } from "./training.ts";

const keys = [...spokenSections, "search", "linearize"];

export function searchVerb(): Verb {
  return {
    command: withUrl(recipeCommand("search", "grow a search tree for each question of data.train"))
      .option("--split <split>", "search.run.split: train or heldout")
      .option(
        "--teacher <url>",
        "ask this server, not the engine: search.teacher of kind openai, and its url",
      )
      .option(
        "--compare",
        "search.run.compare: then ask the same questions in plain samples, and say what search adds",
      ),
    keys,
    run: async (context, [recipePath], options) => {
      const overrides = [...context.overrides];
      if (typeof options.teacher === "string")
        overrides.push(
          { path: "search.teacher.kind", value: "openai" },
          { path: "search.teacher.url", value: options.teacher },
        );
      const split = textOf(options.split);
      if (split !== undefined) overrides.push({ path: "search.run.split", value: split });
      if (options.compare === true) overrides.push({ path: "search.run.compare", value: "true" });
      const stage = await recipeRun({ ...context, overrides }, recipePath, options);
      return options.dryRun === true
        ? dryRun(stage.recipe, "search", context, keys)
        : runSearch(stage, context);
    },
  };
}

/** Grows trees, anew or going on. */
export async function runSearch(stage: StageOptions, context: Context): Promise<Result> {
  const { engine, search } = stage.recipe;
  const { processorFolder } = await import("../engine/open.ts");
  processorFolder(engine);
  const { loadTasks } = await import("../recipe.ts");
  const { searchStage } = await import("../stages/search.ts");
  const tasks = await loadTasks(stage.recipe, search.run.split);
  sayNotes(tasks, context.say);
  await sayResume(stage, context.say);
  const result = await searchStage(stage, engine, tasks);
  const failed =
    result.failed > 0
      ? `; ${result.failed} failed, see failures.jsonl; the first: ${result.firstFailure}`
      : "";
  const bad =
    result.badReplies > 0
      ? `; ${result.badReplies} replies could not be used, the first: ${result.firstBadReply}`
      : "";
  return {
    json: { ...result },
    text: `${result.solved} of ${result.trees} questions solved; ${result.nodes} nodes, ${result.calls} calls, ${formatDuration(result.seconds)}${failed}${bad}\n${comparisonLines(result.compared)}${result.folder}`,
  };
}

function comparisonLines(compared: Searched["compared"] = {}): string {
  const percent = ({ share, low, high }: Share) =>
    `${(100 * share).toFixed(1)} % [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
  return Object.entries(compared)
    .map(
      ([task, { questions, one, three, equalTokens, search }]) =>
        `${task}, ${questions} questions solved by one sample ${percent(one)}, three ${percent(three)}, samples of the tree's tokens ${percent(equalTokens)}, search ${percent(search)}\n`,
    )
    .join("");
}
