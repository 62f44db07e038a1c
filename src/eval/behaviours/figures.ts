/**
 * Counts of behaviours over groups of traces: arms of an evaluation, steps of training, kinds of chains.
 * A question counts once, with the mean over its traces, so intervals are over questions; two groups that
 * were asked the same are compared question by question.
 */
import { krippendorffAlpha } from "../../core/agreement.ts";
import { stream } from "../../core/random.ts";
import { groupBy } from "../../core/round-robin.ts";
import {
  bootstrapMean,
  bootstrapUnpaired,
  mean,
  normalInterval,
  type Interval,
} from "../../core/statistics.ts";
import { behaviourNames, type BehaviourCounts, type BehaviourName } from "../../task/behaviours.ts";
import { judgedNames, type JudgedCounts, type JudgedName } from "./judge.ts";

/** What was counted in one trace. */
export interface Observation {
  readonly recordId: string;
  readonly question: string;
  /** Null where nothing judged its answer. */
  readonly isRight: boolean | null;
  readonly counts: BehaviourCounts;
  /** By a model; null where its reply had no count. */
  readonly judged?: JudgedCounts | undefined;
  /** For a judge to read. */
  readonly thoughts?: string | undefined;
}

export interface ObservedGroup {
  readonly task: string;
  readonly group: string;
  /** Questions that were asked, where only some kept their traces. */
  readonly asked: number | null;
  readonly observations: readonly Observation[];
}

/** Which traces count. */
export const traceChoices = ["all", "right"] as const;
export type TraceChoice = (typeof traceChoices)[number];

/** Mean over questions. */
export interface BehaviourFigure {
  readonly mean: number;
  /** 95 %, over questions; null where there is but one. */
  readonly ci95: Interval | null;
  readonly questions: number;
}

export interface JudgeFigures {
  readonly figures: Readonly<Partial<Record<JudgedName, BehaviourFigure>>>;
  /** Traces whose reply had no count: they are in no figure of the judge. */
  readonly unread: Readonly<Record<JudgedName, number>>;
  /** With the rules, over traces. */
  readonly agreement: Readonly<Record<JudgedName, Agreement>>;
}

export interface Agreement {
  /** Share of traces of which both say that it is there, or both that it is not. */
  readonly present: number | null;
  /** Krippendorff's α of the two counts as an interval scale; null where it is not defined. */
  readonly alpha: number | null;
}

export interface GroupFigures {
  readonly task: string;
  readonly group: string;
  readonly traces: number;
  readonly questions: number;
  /** Questions that were asked, and those whose traces were kept, before any were chosen. */
  readonly asked: number | null;
  readonly kept: number;
  /** Share of right answers among the traces that were judged, before any were chosen. */
  readonly right: number | null;
  readonly rules: Readonly<Partial<Record<BehaviourName, BehaviourFigure>>>;
  readonly judge?: JudgeFigures;
}

export interface BehaviourDifference {
  readonly task: string;
  readonly group: string;
  readonly against: string;
  readonly by: "rules" | "judge";
  readonly behaviour: BehaviourName;
  /** mean(group) − mean(against). */
  readonly difference: number;
  readonly ci95: Interval | null;
  /** Question by question, on those that both were asked; else over two samples of questions. */
  readonly paired: boolean;
  readonly questions: readonly [group: number, against: number];
}

/** A group after the choice of traces. @param limit at most so many questions, the same in groups that share them */
export function choose(
  groups: readonly ObservedGroup[],
  over: TraceChoice,
  limit: number | null,
  seed: number,
): ObservedGroup[] {
  const chosen = groups.map((group) => ({
    ...group,
    observations: group.observations.filter(({ isRight }) => over === "all" || isRight === true),
  }));
  if (limit === null) return chosen;
  const keys = new Set(chosen.flatMap(({ observations }) => observations.map(keyOf)));
  const order = stream(seed, "behaviours").shuffle([...keys].sort());
  return chosen.map((group) => {
    const own = new Set(group.observations.map(keyOf));
    const kept = new Set(order.filter((key) => own.has(key)).slice(0, limit));
    return { ...group, observations: group.observations.filter((one) => kept.has(keyOf(one))) };
  });
}

/** Figures of a chosen group. @param all the group before the choice */
export function figuresOf(chosen: ObservedGroup, all: ObservedGroup = chosen): GroupFigures {
  const { task, group, asked, observations } = chosen;
  const judged = all.observations.flatMap(({ isRight }) => isRight ?? []);
  return {
    task,
    group,
    traces: observations.length,
    questions: new Set(observations.map(keyOf)).size,
    asked,
    kept: new Set(all.observations.map(keyOf)).size,
    right: judged.length === 0 ? null : mean(judged.map(Number)),
    rules: figureTable(behaviourNames, (name) => perQuestion(observations, byRules(name))),
    ...judgeFigures(observations),
  };
}

function judgeFigures(observations: readonly Observation[]): { judge?: JudgeFigures } {
  const seen = observations.filter(({ judged }) => judged !== undefined);
  if (seen.length === 0) return {};
  const of = <T>(work: (name: JudgedName) => T) =>
    Object.fromEntries(judgedNames.map((name) => [name, work(name)])) as Record<JudgedName, T>;
  return {
    judge: {
      figures: figureTable(judgedNames, (name) => perQuestion(seen, byJudge(name))),
      unread: of((name) => seen.filter(({ judged }) => judged?.[name] === null).length),
      agreement: of((name) => agreementOf(seen, name)),
    },
  };
}

function agreementOf(observations: readonly Observation[], name: JudgedName): Agreement {
  const pairs = observations.flatMap((one) => {
    const [rules, judge] = [byRules(name)(one), byJudge(name)(one)];
    return rules === null || judge === null ? [] : [[rules, judge]];
  });
  const same = pairs.filter(([rules, judge]) => rules > 0 === judge > 0);
  return {
    present: pairs.length === 0 ? null : same.length / pairs.length,
    alpha: krippendorffAlpha(pairs, "interval"),
  };
}

/** Every behaviour's difference between two chosen groups; those that cannot be told are left out. */
export function differencesOf(ours: ObservedGroup, theirs: ObservedGroup): BehaviourDifference[] {
  const head = { task: ours.task, group: ours.group, against: theirs.group };
  const rows = [
    ...behaviourNames.map((name) => ({ by: "rules", behaviour: name, of: byRules(name) }) as const),
    ...judgedNames.map((name) => ({ by: "judge", behaviour: name, of: byJudge(name) }) as const),
  ];
  return rows.flatMap(({ by, behaviour, of }) => {
    const [a, b] = [ours, theirs].map(({ observations }) => perQuestion(observations, of));
    const compared = compare(a, b);
    return compared === null ? [] : [{ ...head, by, behaviour, ...compared }];
  });
}

function compare(
  a: ReadonlyMap<string, number>,
  b: ReadonlyMap<string, number>,
): Pick<BehaviourDifference, "difference" | "ci95" | "paired" | "questions"> | null {
  if (a.size === 0 || b.size === 0) return null;
  const common = [...a.keys()].filter((key) => b.has(key));
  const paired = 2 * common.length >= Math.min(a.size, b.size);
  const valuesOf = (values: ReadonlyMap<string, number>) =>
    paired ? common.map((key) => values.get(key)!) : [...values.values()];
  const [ours, theirs] = [valuesOf(a), valuesOf(b)];
  const questions = [ours.length, theirs.length] as const;
  const told = (paired ? pairedInterval : unpairedInterval)(ours, theirs);
  return { difference: mean(ours) - mean(theirs), ci95: told, paired, questions };
}

type Counted = (one: Observation) => number | null;

function byRules(name: BehaviourName): Counted {
  return ({ counts }) => counts[name];
}

function byJudge(name: JudgedName): Counted {
  return ({ judged }) => judged?.[name] ?? null;
}

/** Traces are of one question where its id and its words are the same. */
export function keyOf({ recordId, question }: Pick<Observation, "recordId" | "question">): string {
  return JSON.stringify([recordId, question]);
}

/** The mean of each question's traces, of those where it can be told. */
function perQuestion(observations: readonly Observation[], of: Counted): Map<string, number> {
  const counted = observations.filter((one) => of(one) !== null);
  const byKey = [...groupBy(counted, keyOf)];
  return new Map(byKey.map(([key, own]) => [key, mean(own.map((one) => of(one) ?? 0))]));
}

function figureTable<Name extends string>(
  names: readonly Name[],
  valuesOf: (name: Name) => ReadonlyMap<string, number>,
): Partial<Record<Name, BehaviourFigure>> {
  const rows = names.flatMap((name): [Name, BehaviourFigure][] => {
    const values = [...valuesOf(name).values()];
    if (values.length === 0) return [];
    return [[name, { mean: mean(values), ci95: intervalOf(values), questions: values.length }]];
  });
  return Object.fromEntries(rows) as Partial<Record<Name, BehaviourFigure>>;
}

/** Above so many questions the bootstrap says what the standard error says, and takes seconds for it. */
const mostDrawn = 2000;

function intervalOf(values: readonly number[]): Interval | null {
  if (values.length < 2) return null;
  return values.length > mostDrawn
    ? normalInterval(mean(values), values)
    : bootstrapMean(values).interval;
}

function pairedInterval(ours: readonly number[], theirs: readonly number[]): Interval | null {
  return intervalOf(ours.map((value, i) => value - theirs[i]));
}

function unpairedInterval(ours: readonly number[], theirs: readonly number[]): Interval | null {
  if (ours.length < 2 || theirs.length < 2) return null;
  return Math.max(ours.length, theirs.length) > mostDrawn
    ? normalInterval(mean(ours) - mean(theirs), ours, theirs)
    : bootstrapUnpaired(ours, theirs).interval;
}
