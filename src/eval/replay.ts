/**
 * Saved replies under other rules, without a model: what the choice of a scorer alone does to a figure.
 * A benchmark has a rule for each of its protocols; other questions have the judges of their kinds.
 */
import { markdownTable, markdownText } from "../core/plain-text.ts";
import { judge, judgeProfiles } from "../task/judge.ts";
import type { TaskRecord } from "../task/record.ts";
import type { Figure, Reply, Verdict } from "./benchmarks/benchmark.ts";
import type { BenchmarkSet } from "./benchmarks/arm-figures.ts";
import { figuresOf, score } from "./benchmarks/score.ts";
import { isRight, isUnanswered, perQuestion, type Outcome } from "./outcome.ts";
import { sampleFactsOf, withVotes, type SampleFacts } from "./samples.ts";

/** One arm under one rule. */
export interface ReplayRow {
  readonly task: string;
  readonly arm: string;
  /** A protocol, or a judge. */
  readonly rule: string;
  /** Of the run itself. */
  readonly isOwn: boolean;
  /** Replies that were scored. */
  readonly n: number;
  /** Mean over questions, and of each over its samples, in [0, 1]. */
  readonly accuracy: number;
  /** Where a question has several samples. */
  readonly sampled?: SampleFacts;
  /** The headline first. */
  readonly figures: readonly Figure[];
  /** Replies that are right here and not by the run's own rule, and the other way round. */
  readonly gained: number;
  readonly lost: number;
  /** Replies in which the rule read nothing, or that it would hand to a language model. */
  readonly unread: number;
}

export interface ReplayedArm {
  readonly task: string;
  readonly arm: string;
  readonly records: readonly TaskRecord[];
  readonly outcomes: readonly Outcome[];
  /** The rule of the run. */
  readonly own: string;
  readonly benchmark: BenchmarkSet["benchmark"] | null;
}

interface Rule {
  readonly name: string;
  readonly verdict: (record: TaskRecord, reply: Reply) => Verdict;
  readonly figures: (scored: readonly { record: TaskRecord; verdict: Verdict }[]) => Figure[];
}

/** Scores an arm under every rule that its questions have. Pure. */
export function replayArm(replayed: ReplayedArm): ReplayRow[] {
  const { task, arm, own, records } = replayed;
  const byId = new Map(records.map((record) => [record.id, record]));
  const said = replayed.outcomes.flatMap((outcome) => {
    const record = byId.get(outcome.recordId);
    return record === undefined || isUnanswered(outcome) ? [] : [{ record, outcome }];
  });
  return rulesOf(replayed).map(({ name, verdict, figures }) => {
    const again = said.map(({ record, outcome }): Outcome & { verdict: Omit<Verdict, "score"> } => {
      const { score, ...how } = verdict(record, { ...outcome.reply, answer: outcome.answer });
      const { judged: _, ...rest } = outcome;
      return { ...rest, score, verdict: how };
    });
    const turned = again.map((one, i) => [isRight(said[i].outcome), isRight(one)]);
    const questions = perQuestion(withVotes(records, again));
    const scored = questions.flatMap(({ recordId, score, verdict: how }) => {
      const record = byId.get(recordId);
      return record === undefined || how === undefined
        ? []
        : [{ record, verdict: { ...how, score } }];
    });
    const sampled = sampleFactsOf(withVotes(records, again));
    return {
      task,
      arm,
      rule: name,
      isOwn: name === own,
      n: again.length,
      accuracy:
        scored.reduce((sum, one) => sum + one.verdict.score, 0) / Math.max(1, scored.length),
      figures: figures(scored),
      ...(sampled && { sampled }),
      gained: turned.filter(([before, now]) => !before && now).length,
      lost: turned.filter(([before, now]) => before && !now).length,
      unread: again.filter((one) => one.verdict.how !== "read").length,
    };
  });
}

function rulesOf({ benchmark }: ReplayedArm): Rule[] {
  if (benchmark !== null)
    return Object.keys(benchmark.protocols).map((name) => ({
      name,
      verdict: (record, reply) => score(benchmark, name, record, reply),
      figures: (scored) => figuresOf(benchmark, name, scored),
    }));
  return judgeProfiles.map((name) => ({
    name,
    verdict: (record, { answer, view }) => ({
      score: judge(record, answer, { profile: name, view }),
      read: answer,
      how: answer === null ? "unread" : "read",
    }),
    figures: () => [],
  }));
}

const header = [
  "task",
  "arm",
  "rule",
  "n",
  "accuracy",
  "headline",
  "right only here",
  "wrong only here",
  "not read",
];

/** A line a rule; the run's own is marked. */
export function replayRows(rows: readonly ReplayRow[]): string[][] {
  const isSampled = rows.some(({ sampled }) => sampled !== undefined);
  return [
    [...header, ...(isSampled ? ["pass@k", "majority"] : [])],
    ...rows.map((row) => [
      row.task,
      row.arm,
      row.isOwn ? `${row.rule} (the run's)` : row.rule,
      String(row.n),
      points(row.accuracy),
      row.figures.length === 0 ? "" : `${row.figures[0].name} ${points(row.figures[0].value)}`,
      String(row.gained),
      String(row.lost),
      String(row.unread),
      ...(isSampled ? sampleCells(row) : []),
    ]),
  ];
}

/** Of all samples together. */
function sampleCells({ sampled }: ReplayRow): string[] {
  const all = sampled?.passAt.at(-1);
  const majority = sampled?.majority ?? null;
  return [
    all === undefined ? "" : `${points(all.accuracy)} (k = ${all.k})`,
    majority === null ? "" : points(majority.accuracy),
  ];
}

export function replayMarkdown(title: string, rows: readonly ReplayRow[]): string {
  return [
    `# ${markdownText(title)}: the same replies under other rules`,
    "",
    "Prompts, pixels and sampling are those of the run: what differs between the lines of an arm is scoring alone.",
    "",
    ...markdownTable(replayRows(rows), 3),
    "",
  ].join("\n");
}

function points(share: number): string {
  return (100 * share).toFixed(1);
}
