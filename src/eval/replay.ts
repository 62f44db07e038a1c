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
import { isRight, isUnanswered, type Outcome } from "./evaluate.ts";

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
  /** Mean of the verdicts, in [0, 1]. */
  readonly accuracy: number;
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
    if (record === undefined || isUnanswered(outcome)) return [];
    return [{ record, outcome, reply: { ...outcome.reply, answer: outcome.answer } }];
  });
  return rulesOf(replayed).map(({ name, verdict, figures }) => {
    const scored = said.map(({ record, reply }) => ({ record, verdict: verdict(record, reply) }));
    const turned = scored.map((one, i) => [isRight(said[i].outcome), isRight(one.verdict)]);
    return {
      task,
      arm,
      rule: name,
      isOwn: name === own,
      n: scored.length,
      accuracy:
        scored.reduce((sum, one) => sum + one.verdict.score, 0) / Math.max(1, scored.length),
      figures: figures(scored),
      gained: turned.filter(([before, now]) => !before && now).length,
      lost: turned.filter(([before, now]) => before && !now).length,
      unread: scored.filter((one) => one.verdict.how !== "read").length,
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
  return [
    header,
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
    ]),
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
