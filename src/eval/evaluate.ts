/**
 * Runs a model over questions, one sample a question, and counts. Episodes are independent and run
 * concurrently; each draws from a seed keyed by its record, so neither order nor concurrency
 * changes an answer. Works over any sampler. Left out: pass@k and voting.
 */
import { z } from "zod";
import { mapBounded } from "../core/bounded.ts";
import { VigorlError } from "../core/errors.ts";
import { deriveSeed } from "../core/random.ts";
import { bootstrapDifference, mcNemar, mean, wilsonInterval } from "../core/statistics.ts";
import type { Sampler } from "../engine/types.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { runEpisode } from "../task/episode.ts";
import { judge, judgeProfiles } from "../task/judge.ts";
import type { TaskRecord } from "../task/record.ts";
import { countUses, type Trajectory } from "../task/trajectory.ts";
import { conditionTable, conditions, type Condition } from "./controls.ts";
import type { Arm, Comparison } from "./report.ts";

/** The `eval` section of a recipe. */
export const evalSchema = z.strictObject({
  temperature: z.number().min(0).default(0).describe("0 is greedy; the paper samples at 0.5"),
  topP: z.number().gt(0).max(1).default(1).describe("nucleus sampling; 1 switches it off"),
  topK: z.int().min(0).default(0).describe("keep the k likeliest tokens; 0 switches it off"),
  concurrency: z.int().min(1).default(64).describe("episodes in flight at once"),
  judge: z
    .enum(judgeProfiles)
    .default("default")
    .describe("rules by which an answer is right: ours, or the published ones"),
  controls: z
    .array(z.enum(conditions).exclude(["none"]))
    .default([])
    .describe("controls to run beside the model as it is"),
  traces: z.int().min(0).default(24).describe("questions whose episodes the report shows"),
});
export type EvalConfig = z.infer<typeof evalSchema>;

/** What came of one question. */
export interface Outcome {
  readonly recordId: string;
  readonly category: string | null;
  /** The judge's verdict in [0, 1]. */
  readonly score: number;
  readonly answer: string | null;
  /** Tool calls that were carried out. */
  readonly toolUses: number;
  readonly stopReason: string;
  readonly error: string | null;
}

export interface EvaluateOptions {
  readonly sampler: Sampler;
  readonly records: readonly TaskRecord[];
  /** With the tools of the condition already in it. */
  readonly episode: EpisodeConfig;
  readonly config: EvalConfig;
  readonly condition: Condition;
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Called once an episode, in the order in which they end. */
  readonly onEpisode?: (
    episode: Trajectory,
    record: TaskRecord,
    score: number,
  ) => void | Promise<void>;
}

/** Outcomes in the order of the records, and how long all of it took. */
export interface Evaluation {
  readonly outcomes: readonly Outcome[];
  readonly seconds: number;
}

/**
 * Answers every question once.
 * @throws VigorlError("input") without records, "io" when no episode got an answer out of the sampler.
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const { sampler, records, config, condition, seed, signal, onEpisode } = options;
  if (records.length === 0) throw new VigorlError("input", "eval: there is no question to ask");
  const { temperature, topP, topK } = config;
  const episodeConfig = { ...options.episode, sampling: { temperature, topP, topK } };
  const start = performance.now();
  const outcomes = await mapBounded(records, config.concurrency, signal, async (record, halt) => {
    const shown = conditionTable[condition].record(record);
    const episodeSeed = deriveSeed(seed, "eval", record.id);
    const stop = { signal: halt };
    const episode = await runEpisode(sampler, shown, episodeConfig, episodeSeed, stop);
    const outcome = outcomeOf(episode, record, config.judge);
    await onEpisode?.(episode, record, outcome.score);
    return outcome;
  });
  const seconds = (performance.now() - start) / 1000;
  const broken = outcomes.find((outcome) => outcome.stopReason === "samplerError");
  if (broken && outcomes.every((outcome) => outcome.stopReason === "samplerError")) {
    throw new VigorlError(
      "io",
      `eval: the sampler failed on every question: ${broken.error ?? ""}`,
    );
  }
  return { outcomes, seconds };
}

/** True where the model was never heard: the question could not be asked, or the engine failed. */
export function isUnanswered({ stopReason }: Pick<Outcome, "stopReason">): boolean {
  return stopReason === "inputError" || stopReason === "samplerError";
}

/** Counts outcomes into an arm of a report; what was not answered is counted apart. */
export function armOf(name: string, task: string, evaluation: Evaluation): Arm {
  const { seconds } = evaluation;
  const outcomes = evaluation.outcomes.filter((outcome) => !isUnanswered(outcome));
  const unanswered = evaluation.outcomes.filter(isUnanswered);
  const byCategory = groupBy(outcomes, (outcome) => outcome.category);
  const byStop = groupBy(evaluation.outcomes, (outcome) => outcome.stopReason);
  return {
    name,
    task,
    ...accuracyOf(outcomes),
    toolUsesPerEpisode: mean(outcomes.map((outcome) => outcome.toolUses)),
    seconds,
    categories: Object.fromEntries([...byCategory].map(([key, group]) => [key, accuracyOf(group)])),
    stopReasons: Object.fromEntries([...byStop].map(([key, group]) => [key, group.length])),
    ...(unanswered.length === 0
      ? {}
      : { unanswered: { count: unanswered.length, reason: unanswered[0].error ?? "unknown" } }),
  };
}

/** Places of the questions that two arms both answered. */
export function answeredByBoth(ours: readonly Outcome[], theirs: readonly Outcome[]): number[] {
  return ours.flatMap((outcome, i) =>
    isUnanswered(outcome) || isUnanswered(theirs[i]) ? [] : [i],
  );
}

/** Compares two arms that were asked the same questions in the same order, on those that both answered. */
export function compareArms(
  task: string,
  [arm, ours]: readonly [string, readonly Outcome[]],
  [against, theirs]: readonly [string, readonly Outcome[]],
): Comparison {
  const both = answeredByBoth(ours, theirs);
  const a = both.map((i) => ours[i].score);
  const b = both.map((i) => theirs[i].score);
  const { difference, interval } = bootstrapDifference(a, b);
  const right = (score: number) => score >= 0.5;
  return { task, arm, against, difference, ci95: interval, p: mcNemar(a.map(right), b.map(right)) };
}

function outcomeOf(episode: Trajectory, record: TaskRecord, profile: EvalConfig["judge"]): Outcome {
  const { answer, view, stopReason, error } = episode;
  const score = judge(record, answer, { profile, view });
  return {
    recordId: record.id,
    category: record.category ?? null,
    score,
    answer,
    toolUses: countUses(episode),
    stopReason,
    error,
  };
}

function accuracyOf(outcomes: readonly Outcome[]): {
  n: number;
  accuracy: number;
  ci95: [number, number];
} {
  const scores = outcomes.map((outcome) => outcome.score);
  const [low, high] = wilsonInterval(
    scores.reduce((sum, score) => sum + score, 0),
    scores.length,
  );
  return { n: scores.length, accuracy: mean(scores), ci95: [low, high] };
}

/** Groups by a key, in the order of first appearance; entries without a key are left out. */
function groupBy<T>(items: readonly T[], keyOf: (item: T) => string | null): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    if (key === null) continue;
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
