/**
 * What a report says of an arm over a benchmark: by which protocol, its figures, how the verdicts came
 * about, and the figures in print to stand beside them.
 */
import { z } from "zod";
import { isUnanswered } from "../outcome.ts";
import type { Arm } from "../report.ts";
import type { AnsweredQuestion } from "../with-records.ts";
import {
  verdictWays,
  type Benchmark,
  type PublishedFigure,
  type Scored,
  type Verdict,
} from "./benchmark.ts";
import { figuresOf } from "./score.ts";

export const benchmarkArmSchema = z.strictObject({
  name: z.string(),
  title: z.string(),
  protocol: z.string(),
  /** The headline first; shares in [0, 1]. */
  figures: z
    .array(z.strictObject({ name: z.string(), value: z.number(), n: z.int(), mean: z.string() }))
    .readonly(),
  /** Replies by how their verdict came about. */
  verdicts: z.record(z.enum(verdictWays), z.int()),
  /** What has to be known of the data. */
  notes: z.array(z.string()).readonly(),
  /** In points. */
  published: z
    .array(
      z.strictObject({
        who: z.string(),
        what: z.string().optional(),
        value: z.number(),
        plusMinus: z.number().optional(),
        where: z.string(),
      }),
    )
    .readonly(),
});
export type BenchmarkArm = z.infer<typeof benchmarkArmSchema>;

/** A benchmark as it was loaded, under the protocol by which it is asked and scored. */
export interface BenchmarkSet {
  readonly benchmark: Benchmark;
  readonly protocol: string;
  readonly notes: readonly string[];
}

/** Counts questions as the protocol does, but for those without an answer. */
export async function benchmarkArm(
  { benchmark, protocol, notes }: BenchmarkSet,
  answered: AsyncIterable<AnsweredQuestion>,
): Promise<BenchmarkArm> {
  const scored: Scored[] = [];
  for await (const { record, outcome } of answered) {
    const { score, verdict } = outcome;
    if (verdict !== undefined && !isUnanswered(outcome))
      scored.push({ record, verdict: { ...verdict, score } });
  }
  const counts = Object.fromEntries(
    verdictWays.map((way) => [way, scored.filter(({ verdict }) => verdict.how === way).length]),
  );
  return {
    name: benchmark.name,
    title: benchmark.title,
    protocol,
    figures: figuresOf(benchmark, protocol, scored),
    verdicts: counts as Record<Verdict["how"], number>,
    notes,
    published: benchmark.published,
  };
}

/** Tables of cells, a header first, and lines of text; null where no arm is of a benchmark. */
export function benchmarkTables(
  arms: readonly Arm[],
): { lines: string[]; tables: string[][][] } | null {
  const shown = arms.flatMap((arm) =>
    arm.benchmark === undefined ? [] : [{ arm: arm.name, benchmark: arm.benchmark }],
  );
  if (shown.length === 0) return null;
  const [{ benchmark }] = shown;
  const names = [...new Set(shown.flatMap((one) => one.benchmark.figures.map(({ name }) => name)))];
  const figures = names.map((name) => [
    name,
    ...shown.map((one) => {
      const figure = one.benchmark.figures.find((other) => other.name === name);
      return figure === undefined ? "" : `${points(figure.value)} (${figure.n})`;
    }),
  ]);
  const verdicts = shown.map((one) => `${one.arm}: ${verdictText(one.benchmark.verdicts)}`);
  const published = benchmark.published.map((figure) => [
    figure.what === undefined ? figure.who : `${figure.who}, ${figure.what}`,
    printed(figure),
    figure.where,
  ]);
  return {
    lines: [`${benchmark.title}, protocol ${benchmark.protocol}`, ...verdicts, ...benchmark.notes],
    tables: [
      [["figure", ...shown.map(({ arm }) => arm)], ...figures],
      ...(published.length === 0 ? [] : [[["in print", "points", "where"], ...published]]),
    ],
  };
}

/** Figures of the first arm of each benchmark, for a terminal; the report has those of all. */
export function benchmarkText(arms: readonly Arm[]): string[] {
  const firsts = arms.filter(
    ({ task, benchmark }, i) =>
      benchmark !== undefined && arms.findIndex((arm) => arm.task === task) === i,
  );
  return firsts.flatMap(({ name, benchmark }) => {
    if (benchmark === undefined) return [];
    const { title, protocol, figures, verdicts, notes } = benchmark;
    const shown = figures
      .slice(0, 12)
      .map((one) => `  ${one.name}: ${points(one.value)} (${one.n})`);
    const more = figures.length > shown.length ? ["  … more in the report"] : [];
    const head = `${title}, protocol ${protocol}, ${name}: ${verdictText(verdicts)}`;
    return ["", head, ...shown, ...more, ...notes.map((note) => `  ${note}`)];
  });
}

function verdictText(verdicts: BenchmarkArm["verdicts"]): string {
  const words: Record<Verdict["how"], string> = {
    read: "read",
    unread: "not read, wrong",
    chance: "not read, counted as chance",
    llm: "would go to a language model, wrong without",
  };
  return verdictWays
    .filter((way) => way === "read" || verdicts[way] > 0)
    .map((way) => `${verdicts[way]} ${words[way]}`)
    .join(", ");
}

function points(share: number): string {
  return (100 * share).toFixed(1);
}

function printed({
  value,
  plusMinus,
}: PublishedFigure | BenchmarkArm["published"][number]): string {
  const figure = (points: number) =>
    Number.isInteger(points) ? points.toFixed(1) : String(points);
  return plusMinus === undefined ? figure(value) : `${figure(value)} ± ${figure(plusMinus)}`;
}
