/** Evaluation as a stage of a recipe: arms of a model over all tasks, with the judge that the recipe names. */
import { Progress } from "../core/progress.ts";
import {
  episodeConfig,
  openPlanned,
  planEngine,
  whileOpen,
  type EnginePlan,
} from "../engine-plan.ts";
import { engineLabel, priceOf } from "../engine/open.ts";
import { runArm } from "../eval/arm.ts";
import { judgementsOf } from "../eval/ask-model.ts";
import type { Protocol } from "../eval/benchmarks/benchmark.ts";
import { protocolOf } from "../eval/benchmarks/table.ts";
import { askedUnder, conditionTable, type Condition } from "../eval/controls.ts";
import { ruleName, type Evaluation } from "../eval/evaluate.ts";
import { modelJudge, type ModelJudge } from "../eval/model-judge.ts";
import type { Recipe, TaskSet } from "../recipe.ts";
import { present } from "../task/episode-config.ts";
import { none } from "../task/tools/controls.ts";
import type { StageOptions } from "./stage.ts";

/** An arm of an evaluation: a model under a condition. */
export interface ArmPlan {
  readonly arm: string;
  readonly condition: Condition;
  /** Offer the recipe's tools (arms of models that were trained without them do not). */
  readonly tools: boolean;
}

/**
 * A recipe as evaluation plays it: with the bounds that its `eval` lays over those of all stages, and
 * those of a benchmark's protocol between them.
 */
function evaluated(recipe: Recipe, protocol: Protocol | undefined): Recipe {
  const { image = {}, episode = {} } = recipe.eval;
  const isBare = protocol?.prompt.form === "bare";
  const wordless = { ...recipe.promptsNoTool, system: null, questionSuffix: "" };
  return {
    ...recipe,
    image: { ...recipe.image, ...present(protocol?.pixels ?? {}), ...present(image) },
    episode: { ...recipe.episode, ...present(episode) },
    ...(isBare ? { tools: {}, answerForm: "whole" as const, promptsNoTool: wordless } : {}),
  };
}

/** The model that judges, worked out, where a recipe names one. @throws as `planEngine` */
export async function planJudge(
  recipe: Recipe,
  evaluated: EnginePlan,
  signal: AbortSignal,
): Promise<EnginePlan | undefined> {
  const { judge } = recipe.eval;
  if (typeof judge === "string") return undefined;
  const needs = { purpose: "eval.judge", capabilities: [] };
  return planEngine(recipe, judge.engine, needs, { signal }, evaluated.folder);
}

/** Runs work with the judge of a recipe, if it has one; verdicts are kept in the run's folder. */
export async function withJudge<T>(
  { recipe, path }: Pick<StageOptions, "recipe" | "path">,
  plan: EnginePlan | undefined,
  work: (judge: ModelJudge | undefined) => Promise<T>,
): Promise<T> {
  const { judge } = recipe.eval;
  if (plan === undefined || typeof judge === "string") return work(undefined);
  return whileOpen(plan, (sampler) =>
    work(
      modelJudge({
        name: engineLabel(plan.engine),
        sampler,
        chat: plan.episode.chat,
        maxTokens: judge.maxTokens,
        folder: judgementsOf(path),
      }),
    ),
  );
}

/** Runs arms of one model over the tasks that have questions for them; finished ones are read back. */
export async function evaluateArms(
  options: StageOptions,
  plan: EnginePlan,
  plans: readonly ArmPlan[],
  tasks: readonly TaskSet[],
  report: (task: string, arm: string, evaluation: Evaluation) => void,
  modelJudge?: ModelJudge,
): Promise<void> {
  const { recipe, path, signal, quiet } = options;
  const engine = await openPlanned(plan);
  try {
    for (const { arm, condition, tools: isOffered } of plans) {
      const control = isOffered ? conditionTable[condition].tool : none;
      for (const { task, records: all, benchmark: set } of tasks) {
        const { records } = askedUnder(condition, all, recipe.seed);
        if (records.length === 0) continue;
        const protocol = set && protocolOf(set.benchmark, set.protocol);
        const played = evaluated(recipe, protocol);
        const episode = await episodeConfig(played, plan.folder, control);
        const progress = new Progress({
          label: `eval ${task} ${arm}`,
          total: records.length * recipe.eval.samples,
          unit: recipe.eval.samples === 1 ? "questions" : "episodes",
          quiet,
        });
        try {
          const evaluation = await runArm({
            folder: path,
            task,
            arm,
            sampler: engine,
            records,
            episode,
            config: recipe.eval,
            reward: recipe.rl.reward,
            condition,
            seed: recipe.seed,
            judge: protocol?.judge,
            modelJudge,
            rule: set?.protocol ?? ruleName(recipe.eval),
            price: priceOf(plan.engine),
            signal,
            onProgress: (done, figures) => progress.update(done, figures),
          });
          report(task, arm, evaluation);
        } finally {
          progress.finish();
        }
      }
    }
  } finally {
    await engine.close();
  }
}
