/** Outcomes counted: into arms of a report, and two arms against each other. */
import {
  bootstrapDifference,
  mcNemar,
  mean,
  meanInterval,
  wilsonInterval,
} from "../core/statistics.ts";
import type { Evaluation } from "./evaluate.ts";
import {
  answeredByBoth,
  groupBy,
  isRight,
  isUnanswered,
  isUncounted,
  perQuestion,
  type Counted,
} from "./outcome.ts";
import type { Arm, Comparison } from "./report.ts";
import { numSamples, sampleFactsOf } from "./samples.ts";

/**
 * Counts outcomes into an arm of a report: accuracy over questions, tool uses and ends over episodes.
 * What was not answered is counted apart.
 */
export function armOf(
  name: string,
  task: string,
  evaluation: Evaluation,
  besides: Pick<Arm, "benchmark" | "options"> = {},
): Arm {
  const { seconds, spent } = evaluation;
  const questions = perQuestion(evaluation.outcomes);
  const outcomes = questions.filter((outcome) => !isUncounted(outcome));
  const unanswered = questions.filter(isUnanswered);
  const answered = evaluation.outcomes.filter((outcome) => !isUnanswered(outcome));
  const byCategory = groupBy(outcomes, (outcome) => outcome.category);
  const samples = numSamples(evaluation.outcomes);
  const sampled = sampleFactsOf(evaluation.outcomes);
  const byStop = groupBy(evaluation.outcomes, (outcome) => outcome.stopReason);
  return {
    name,
    task,
    ...accuracyOf(outcomes, samples),
    toolUsesPerEpisode: mean(answered.map((outcome) => outcome.toolUses)),
    seconds,
    categories: Object.fromEntries(
      [...byCategory].map(([key, group]) => [key, accuracyOf(group, samples)]),
    ),
    stopReasons: Object.fromEntries([...byStop].map(([key, group]) => [key, group.length])),
    ...(unanswered.length === 0
      ? {}
      : { unanswered: { count: unanswered.length, reason: unanswered[0].error ?? "unknown" } }),
    ...(spent && { spent }),
    ...(sampled && { sampled }),
    ...besides,
    ...judgeFacts(evaluation.outcomes),
  };
}

/** Compares two arms, an outcome a question, that were asked the same in the same order, on those that both answered. */
export function compareArms(
  task: string,
  [arm, ours]: readonly [string, readonly Counted[]],
  [against, theirs]: readonly [string, readonly Counted[]],
): Comparison {
  const both = answeredByBoth(ours, theirs);
  const [a, b] = [ours, theirs].map((outcomes) => both.map((i) => outcomes[i]));
  return { task, arm, against, ...pairedDifference(a, b) };
}

/** mean(ours) − mean(theirs) with its bootstrap interval and McNemar's test; outcomes in pairs. */
export function pairedDifference(
  ours: readonly Counted[],
  theirs: readonly Counted[],
): Pick<Comparison, "difference" | "ci95" | "p"> {
  const [a, b] = [ours, theirs].map((outcomes) => outcomes.map(({ score }) => score));
  const { difference, interval } = bootstrapDifference(a, b);
  return { difference, ci95: interval, p: mcNemar(ours.map(isRight), theirs.map(isRight)) };
}

/** Of what a model judged: how much, and how often the rules say the same. */
function judgeFacts(outcomes: readonly Counted[]): Pick<Arm, "judged"> {
  const judged = outcomes.flatMap(({ judged: one }) => one ?? []);
  if (judged.length === 0) return {};
  const said = judged.filter(({ verdict }) => verdict !== "unread");
  const same = said.filter(({ verdict, rules }) => (verdict === "right") === rules >= 0.5);
  const agreement = said.length === 0 ? null : same.length / said.length;
  return { judged: { count: judged.length, unread: judged.length - said.length, agreement } };
}

/** @param samples of a question, whose mean its score is */
function accuracyOf(
  outcomes: readonly Counted[],
  samples: number,
): { n: number; accuracy: number; ci95: [number, number] } {
  const scores = outcomes.map((outcome) => outcome.score);
  const right = scores.reduce((sum, score) => sum + score, 0);
  const [low, high] =
    samples === 1
      ? wilsonInterval(right, scores.length)
      : meanInterval(scores, samples * scores.length);
  return { n: scores.length, accuracy: mean(scores), ci95: [low, high] };
}
