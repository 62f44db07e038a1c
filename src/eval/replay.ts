/**
 * Saved replies under other rules, without a model: what the choice of a scorer alone does to a figure.
 * A benchmark has a rule for each of its protocols; other questions have the judges of their kinds.
 */
import { markdownTable, markdownText } from "../core/plain-text.ts";
import { judge, judgeProfiles } from "../task/judge.ts";
import type { TaskRecord } from "../task/record.ts";
import type { Records } from "../task/records.ts";
import type { Figure, Reply, Scored, Verdict } from "./benchmarks/benchmark.ts";
import type { BenchmarkSet } from "./benchmarks/arm-figures.ts";
import { figuresOf, score } from "./benchmarks/score.ts";
import {
  counter,
  isRight,
  isUnanswered,
  perQuestion,
  type Counted,
  type Outcome,
} from "./outcome.ts";
import { withSamples } from "./with-records.ts";
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
  readonly records: Records;
  /** Those of each question together, in the order of the records; read once for each rule. */
  readonly outcomes: () => AsyncIterable<Outcome> | Iterable<Outcome>;
  /** The rule of the run. */
  readonly own: string;
  readonly benchmark: BenchmarkSet["benchmark"] | null;
}

interface Rule {
  readonly name: string;
  readonly verdict: (record: TaskRecord, reply: Reply) => Verdict;
  readonly figures: ((scored: readonly Scored[]) => Figure[]) | null;
}

/** Scores an arm under every rule that its questions have. */
export async function replayArm(replayed: ReplayedArm): Promise<ReplayRow[]> {
  const rows: ReplayRow[] = [];
  for (const rule of rulesOf(replayed)) rows.push(await replayUnder(rule, replayed));
  return rows;
}

async function replayUnder(
  { name, verdict, figures }: Rule,
  { task, arm, own, records, outcomes }: ReplayedArm,
): Promise<ReplayRow> {
  const counted: Counted[] = [];
  const scored: Scored[] = [];
  const count = counter();
  const sum = { gained: 0, lost: 0, unread: 0 };
  for await (const { record, samples } of withSamples(records, outcomes())) {
    const again = samples
      .filter((outcome) => !isUnanswered(outcome))
      .map(({ judged: _, ...outcome }) => {
        const reply = { ...outcome.reply, answer: outcome.answer };
        const { score, ...how } = verdict(record, reply);
        if (isRight({ score }) && !isRight(outcome)) sum.gained++;
        if (!isRight({ score }) && isRight(outcome)) sum.lost++;
        if (how.how !== "read") sum.unread++;
        return { ...outcome, score, verdict: how };
      });
    counted.push(...withVotes(record, again).map(count));
    if (figures === null) continue;
    for (const { score, verdict: how } of perQuestion(again))
      scored.push({ record, verdict: { ...how, score } });
  }
  const questions = perQuestion(counted);
  const sampled = sampleFactsOf(counted);
  return {
    task,
    arm,
    rule: name,
    isOwn: name === own,
    n: counted.length,
    accuracy:
      questions.reduce((total, { score }) => total + score, 0) / Math.max(1, questions.length),
    figures: figures?.(scored) ?? [],
    ...(sampled && { sampled }),
    ...sum,
  };
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
    figures: null,
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
