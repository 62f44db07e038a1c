/**
 * Two arms of any runs that were asked the same: the paired difference with its interval and test, over
 * all questions and in each category, and the questions that one alone got right.
 */
import { mean, type Interval } from "../core/statistics.ts";
import {
  answeredByBoth,
  isRight,
  pairedDifference,
  perQuestion,
  type Outcome,
} from "./evaluate.ts";
import { formatP, signed } from "./report-figures.ts";

/** Over the questions that both answered. */
export interface PairedDifference {
  readonly n: number;
  readonly accuracy: number;
  readonly against: number;
  /** accuracy − against. */
  readonly difference: number;
  /** 95 %, by bootstrap over questions. */
  readonly ci95: Interval;
  /** McNemar's exact test, a verdict of at least a half being right. */
  readonly p: number;
}

export interface PairedArms {
  readonly task: string;
  readonly overall: PairedDifference;
  readonly categories: Readonly<Record<string, PairedDifference>>;
  /** Ids of questions that one of them alone got right. */
  readonly onlyOurs: readonly string[];
  readonly onlyTheirs: readonly string[];
}

/** Outcomes of the same questions in the same order; several samples of one count once, together. */
export function compareOutcomes(
  task: string,
  ours: readonly Outcome[],
  theirs: readonly Outcome[],
): PairedArms | null {
  const [a, b] = [perQuestion(ours), perQuestion(theirs)];
  const pairs = answeredByBoth(a, b).map((i) => ({ ours: a[i], theirs: b[i] }));
  if (pairs.length === 0) return null;
  const names = [...new Set(pairs.flatMap(({ ours: { category } }) => category ?? []))].sort();
  const only = (one: "ours" | "theirs", other: "ours" | "theirs") =>
    pairs.flatMap((pair) =>
      isRight(pair[one]) && !isRight(pair[other]) ? [pair.ours.recordId] : [],
    );
  return {
    task,
    overall: paired(pairs),
    categories: Object.fromEntries(
      names.map((name) => [name, paired(pairs.filter((pair) => pair.ours.category === name))]),
    ),
    onlyOurs: only("ours", "theirs"),
    onlyTheirs: only("theirs", "ours"),
  };
}

interface Pair {
  readonly ours: Outcome;
  readonly theirs: Outcome;
}

function paired(pairs: readonly Pair[]): PairedDifference {
  const [a, b] = [pairs.map(({ ours }) => ours), pairs.map(({ theirs }) => theirs)];
  const [accuracy, against] = [a, b].map((outcomes) => mean(outcomes.map(({ score }) => score)));
  return { n: pairs.length, accuracy, against, ...pairedDifference(a, b) };
}

/** A header, then a line for each task and each of its categories, where there are several. */
export function comparisonRows(
  [ours, theirs]: readonly [string, string],
  compared: readonly PairedArms[],
): string[][] {
  const line = (name: string, one: PairedDifference) => [
    name,
    String(one.n),
    (100 * one.accuracy).toFixed(1),
    (100 * one.against).toFixed(1),
    signed(one.difference),
    `${signed(one.ci95[0])} to ${signed(one.ci95[1])}`,
    formatP(one.p),
  ];
  return [
    ["questions", "n", ours, theirs, "difference", "95 % interval", "p (McNemar)"],
    ...compared.flatMap(({ task, overall, categories }) => {
      const groups = Object.entries(categories);
      return [
        line(task, overall),
        ...(groups.length < 2 ? [] : groups.map(([name, one]) => line(`${task}: ${name}`, one))),
      ];
    }),
  ];
}
