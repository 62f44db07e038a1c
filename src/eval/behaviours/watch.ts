/**
 * Watches traces go by: counts each under its group, and keeps of every behaviour the one trace that shows
 * it best, to be drawn. Nothing else of a trace is held, so any number of them may come.
 */
import {
  behaviourNames,
  defaultBehaviourRules,
  type BehaviourName,
  type BehaviourRules,
} from "../../task/behaviours.ts";
import type { Trace } from "../../task/trace.ts";
import type { TraceView } from "../report-trace.ts";
import {
  differencesOf,
  figuresOf,
  type BehaviourDifference,
  type GroupFigures,
  type Observation,
  type ObservedGroup,
  type TraceChoice,
} from "./figures.ts";
import { observeTrace } from "./observe.ts";

export interface BehaviourReport {
  readonly version: 1;
  /** Traces that count: all, or those with a right answer. */
  readonly over: TraceChoice;
  /** Of each group at most so many questions; null: all. */
  readonly limit: number | null;
  readonly rules: BehaviourRules;
  /** The model that counts, too. */
  readonly judge: string | null;
  readonly groups: readonly GroupFigures[];
  readonly differences: readonly BehaviourDifference[];
}

/** A trace that shows a behaviour. */
export interface BehaviourExample {
  readonly behaviour: BehaviourName;
  readonly count: number;
  readonly quotes: readonly string[];
  readonly view: TraceView;
}

export interface GroupName {
  readonly task: string;
  readonly group: string;
}

/** How a trace is told where it is added. */
export interface Watched extends GroupName {
  readonly trace: Trace;
  /** Null: by its own reward, where it has one. */
  readonly isRight: boolean | null;
  /** For the pictures of a page; null where it cannot be drawn. */
  readonly view: TraceView | null;
}

export class BehaviourWatch {
  readonly rules: BehaviourRules;
  /** The group whose traces are shown first, and that others are compared with. */
  private readonly main: string | undefined;
  private readonly found = new Map<string, { name: GroupName; observations: Observation[] }>();
  private readonly asked = new Map<string, number>();
  private readonly best = new Map<BehaviourName, { rank: number[]; example: BehaviourExample }>();

  constructor(rules: BehaviourRules = defaultBehaviourRules, main?: string) {
    this.rules = rules;
    this.main = main;
  }

  /** Says how many questions a group was asked; only some may have kept their traces. */
  tellAsked(name: GroupName, questions: number): void {
    this.asked.set(keyOf(name), questions);
  }

  /** Counts a trace and keeps what was counted. */
  add(watched: Watched): void {
    this.keep(watched, this.count(watched));
  }

  /** Counts a trace, to be kept with something beside it. */
  count({ group, trace, isRight, view }: Watched): Observation {
    const { observation, behaviours } = observeTrace(trace, this.rules, isRight);
    if (view === null) return observation;
    for (const behaviour of behaviourNames) {
      const count = behaviours.counts[behaviour] ?? 0;
      const rank = [count > 0, group === this.main, observation.isRight === true, count].map(
        Number,
      );
      if (count === 0 || !isAbove(rank, this.best.get(behaviour)?.rank)) continue;
      const said = behaviours.quotes.filter((quote) => quote.behaviour === behaviour);
      const quotes = said.map(({ text }) => text);
      this.best.set(behaviour, { rank, example: { behaviour, count, quotes, view } });
    }
    return observation;
  }

  /** Takes what was counted elsewhere: of a chain, or with a model's counts beside it. */
  keep({ task, group }: GroupName, observation: Observation): void {
    const name = { task, group };
    const known = this.found.get(keyOf(name));
    if (known === undefined) this.found.set(keyOf(name), { name, observations: [observation] });
    else known.observations.push(observation);
  }

  /** What was found so far, groups in the order in which they came. */
  groups(): ObservedGroup[] {
    return [...this.found].map(([key, { name, observations }]) => ({
      ...name,
      asked: this.asked.get(key) ?? null,
      observations,
    }));
  }

  /** One a behaviour that was seen, in the order of the table. */
  examples(): BehaviourExample[] {
    return behaviourNames.flatMap((name) => this.best.get(name)?.example ?? []);
  }
}

export interface SummaryOptions {
  readonly over: TraceChoice;
  readonly limit: number | null;
  readonly rules: BehaviourRules;
  readonly judge: string | null;
  /** Whom a group is compared with; null: with none. */
  readonly against: (group: GroupName, all: readonly GroupName[]) => readonly GroupName[];
}

/** Figures of the chosen groups, and the differences that are asked for. @param all the groups before the choice */
export function summarise(
  chosen: readonly ObservedGroup[],
  all: readonly ObservedGroup[],
  { over, limit, rules, judge, against }: SummaryOptions,
): BehaviourReport {
  const differences = chosen.flatMap((group) =>
    against(group, all).flatMap((name) => {
      const other = chosen.find((one) => keyOf(one) === keyOf(name));
      return other === undefined ? [] : differencesOf(group, other);
    }),
  );
  const groups = chosen.map((group, i) => figuresOf(group, all[i]));
  return { version: 1, over, limit, rules, judge, groups, differences };
}

/** The main group of each task against every other one of it. */
export function mainAgainstOthers(main: string | undefined): SummaryOptions["against"] {
  return ({ task, group }, all) =>
    group === main ? all.filter((other) => other.task === task && other.group !== main) : [];
}

function keyOf({ task, group }: GroupName): string {
  return JSON.stringify([task, group]);
}

function isAbove(rank: readonly number[], other: readonly number[] | undefined): boolean {
  if (other === undefined) return true;
  const at = rank.findIndex((value, i) => value !== other[i]);
  return at >= 0 && rank[at] > other[at];
}
