/**
 * Two arms of any runs that were asked the same: the paired difference with its interval and test, over
 * all questions and in each category, and the questions that one alone got right.
 */
import { bootstrapDifference, mcNemar, mean, type Interval } from "../core/statistics.ts";
import { pairedDifference } from "./count.ts";
import { answeredByBoth, isRight, perQuestion, type Counted } from "./outcome.ts";
import { formatP, signed } from "./report-figures.ts";
import {
  majorityOf,
  numSamples,
  passOf,
  sampledQuestions,
  shownK,
  type Sampled,
} from "./samples.ts";

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
  /** Samples of a question, ours and theirs. */
  readonly samples: readonly [ours: number, theirs: number];
  /** Where both have several: at least one right of k samples, for every k that both have. */
  readonly passAt: readonly (Omit<PairedDifference, "p"> & { readonly k: number })[];
  /** Where both have several: the answer that most samples give; null where none was counted. */
  readonly majority: PairedDifference | null;
  /** Ids of questions that one of them alone got right. */
  readonly onlyOurs: readonly string[];
  readonly onlyTheirs: readonly string[];
}

/** Outcomes of the same questions in the same order; several samples of one count once, together. */
export function compareOutcomes(
  task: string,
  ours: readonly Counted[],
  theirs: readonly Counted[],
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
    ...comparedSamples(ours, theirs),
    onlyOurs: only("ours", "theirs"),
    onlyTheirs: only("theirs", "ours"),
  };
}

function comparedSamples(
  ours: readonly Counted[],
  theirs: readonly Counted[],
): Pick<PairedArms, "samples" | "passAt" | "majority"> {
  const samples = [numSamples(ours), numSamples(theirs)] as const;
  const most = Math.min(...samples);
  if (most === 1) return { samples, passAt: [], majority: null };
  const others = new Map(sampledQuestions(theirs).map((one) => [one.recordId, one]));
  const both = sampledQuestions(ours).flatMap((one) => {
    const other = others.get(one.recordId);
    return other === undefined ? [] : [[one, other] as const];
  });
  const compared = (value: (one: Sampled) => number | null) => {
    const pairs = both.flatMap(([one, other]) => {
      const [a, b] = [value(one), value(other)];
      return a === null || b === null ? [] : [[a, b] as const];
    });
    return pairs.length === 0 ? null : { pairs, ...differenceOf(pairs) };
  };
  const passAt = Array.from({ length: most }, (_, i) => i + 1).flatMap((k) => {
    const found = compared((one) => passOf(one, k));
    if (found === null) return [];
    const { pairs: _, ...difference } = found;
    return [{ k, ...difference }];
  });
  const found = compared((one) => majorityOf(one)?.score ?? null);
  if (found === null) return { samples, passAt, majority: null };
  const { pairs, ...difference } = found;
  const right = (side: 0 | 1) => pairs.map((pair) => isRight({ score: pair[side] }));
  return { samples, passAt, majority: { ...difference, p: mcNemar(right(0), right(1)) } };
}

function differenceOf(
  pairs: readonly (readonly [ours: number, theirs: number])[],
): Omit<PairedDifference, "p"> {
  const [a, b] = [pairs.map(([one]) => one), pairs.map(([, other]) => other)];
  const { difference, interval } = bootstrapDifference(a, b);
  return { n: pairs.length, accuracy: mean(a), against: mean(b), difference, ci95: interval };
}

interface Pair {
  readonly ours: Counted;
  readonly theirs: Counted;
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
  const line = (name: string, one: Omit<PairedDifference, "p"> & { readonly p?: number }) => [
    name,
    String(one.n),
    (100 * one.accuracy).toFixed(1),
    (100 * one.against).toFixed(1),
    signed(one.difference),
    `${signed(one.ci95[0])} to ${signed(one.ci95[1])}`,
    one.p === undefined ? "" : formatP(one.p),
  ];
  return [
    ["questions", "n", ours, theirs, "difference", "95 % interval", "p (McNemar)"],
    ...compared.flatMap(({ task, overall, categories, samples, passAt, majority }) => {
      const groups = Object.entries(categories);
      const shown = shownK({ samples: Math.min(...samples), passAt });
      return [
        line(task, overall),
        ...shown.map((one) => line(`${task}: pass@${one.k}`, one)),
        ...(majority === null ? [] : [line(`${task}: majority`, majority)]),
        ...(groups.length < 2 ? [] : groups.map(([name, one]) => line(`${task}: ${name}`, one))),
      ];
    }),
  ];
}
