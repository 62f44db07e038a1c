/**
 * What an ablation came to: each arm on each task over its seeds, and each claim as the difference of
 * two arms that were asked the same questions, with intervals over seeds and questions.
 */
import { existsSync } from "node:fs";
import { z } from "zod";
import { inside } from "../core/inside.ts";
import { readJsonFile } from "../core/json-file.ts";
import { readJsonlAll } from "../core/jsonl.ts";
import { bootstrapNested, mean, type Interval } from "../core/statistics.ts";
import { isArmDone, readOutcomes } from "../eval/arm-files.ts";
import {
  answeredByBoth,
  counter,
  isUncounted,
  perQuestion,
  type Counted,
  type Outcome,
} from "../eval/outcome.ts";
import type { Comparison } from "../search/compare.ts";
import { armOf, evaluatedArms, type Ablation } from "./ablation.ts";
import { evaluationFolder, stagedArm, trainingFolder } from "./unit.ts";

/** Outcomes of an arm on a task, a question each, by seed. */
type Asked = ReadonlyMap<number, readonly Weighed[]>;
type Weighed = Counted & Pick<Outcome, "tokens">;

export interface ArmResult {
  /** `arm`, or `arm/control`. */
  readonly arm: string;
  readonly task: string;
  readonly seeds: readonly number[];
  /** Questions of one seed. */
  readonly questions: number;
  /** Mean over seeds, its 95 % interval over seeds and questions, and that of each seed. */
  readonly accuracy: number;
  readonly ci95: Interval;
  readonly bySeed: readonly number[];
  /** Tool calls carried out, and tokens written, a question. */
  readonly looks: number;
  readonly tokens: number;
}

export const verdicts = ["holds", "does not hold", "cannot tell"] as const;

export interface Finding {
  readonly claim: string;
  readonly arm: string;
  readonly against: string;
  readonly tasks: readonly string[];
  readonly seeds: readonly number[];
  /** Of accuracies, arm − against, with its 95 % interval over seeds and questions. */
  readonly difference: number;
  readonly ci95: Interval;
  readonly bySeed: readonly number[];
  readonly verdict: (typeof verdicts)[number];
}

/** What a search found beside plain samples, by task; and what it cost. */
export interface SearchResult {
  readonly arm: string;
  readonly task: string;
  readonly seeds: readonly number[];
  readonly questions: number;
  readonly one: number;
  readonly three: number;
  readonly equalTokens: number;
  readonly search: number;
  readonly tokensPerTree: number;
}

/** Notes of a stage, added up over seeds: examples, chains, tokens, … and its seconds. */
export interface StageResult {
  readonly arm: string;
  readonly seeds: number;
  readonly seconds: number;
  readonly notes: Readonly<Record<string, number>>;
}

/** How GRPO changed what it measures: means over its first ten steps and over its last ten, and over seeds. */
export interface TrendResult {
  readonly arm: string;
  readonly metrics: Readonly<Record<string, readonly [first: number, last: number]>>;
}

export interface Results {
  readonly arms: readonly ArmResult[];
  readonly findings: readonly Finding[];
  readonly searches: readonly SearchResult[];
  readonly stages: readonly StageResult[];
  readonly trends: readonly TrendResult[];
  /** Claims whose arms are not finished with any common seed. */
  readonly open: readonly string[];
}

/** Reads what is finished; what is not is left out, and told in `open`. */
export async function readResults(
  ablation: Ablation,
  run: string,
  tasks: readonly string[],
  controlsOf: (arm: string) => readonly string[],
): Promise<Results> {
  const asked = new Map<string, Asked>();
  const arms: ArmResult[] = [];
  for (const arm of evaluatedArms(ablation))
    for (const control of [null, ...controlsOf(arm)]) {
      const name = control === null ? arm : `${arm}/${control}`;
      for (const task of tasks) {
        const outcomes = await readAsked(ablation, run, arm, task, control ?? "model");
        if (outcomes.size === 0) continue;
        asked.set(key(name, task), outcomes);
        arms.push(resultOf(name, task, outcomes));
      }
    }
  const findings: Finding[] = [];
  const open: string[] = [];
  for (const { claim, arm, against, tasks: named = tasks, margin } of ablation.findings) {
    const pairs = pairsOf(asked, arm, against, named);
    if (pairs.size === 0) {
      open.push(claim);
      continue;
    }
    const { mean: difference, interval } = bootstrapNested([...pairs.values()]);
    findings.push({
      claim,
      arm,
      against,
      tasks: named,
      seeds: [...pairs.keys()],
      difference,
      ci95: interval,
      bySeed: [...pairs.values()].map(mean),
      verdict: verdictOf(interval, margin / 100),
    });
  }
  return {
    arms,
    findings,
    searches: await readSearches(ablation, run),
    stages: await readStages(ablation, run),
    trends: await readTrends(ablation, run),
    open,
  };
}

/** Holds above the margin, does not hold where all of the interval is at or below it. */
export function verdictOf([low, high]: Interval, margin: number): Finding["verdict"] {
  if (low > margin) return "holds";
  return high <= margin ? "does not hold" : "cannot tell";
}

const key = (arm: string, task: string) => `${arm}\u0000${task}`;

async function readAsked(
  { seeds }: Ablation,
  run: string,
  arm: string,
  task: string,
  condition: string,
): Promise<Map<number, Weighed[]>> {
  const bySeed = new Map<number, Weighed[]>();
  for (const seed of seeds) {
    const folder = evaluationFolder(run, { arm, seed });
    if (!isArmDone(folder, task, condition)) continue;
    const count = counter();
    const outcomes: Weighed[] = [];
    for await (const outcome of readOutcomes(folder, task, condition))
      outcomes.push({ ...count(outcome), tokens: outcome.tokens });
    bySeed.set(seed, perQuestion(outcomes));
  }
  return bySeed;
}

function resultOf(arm: string, task: string, asked: Asked): ArmResult {
  const counted = [...asked.values()].map((outcomes) =>
    outcomes.filter((outcome) => !isUncounted(outcome)),
  );
  const scores = counted.map((outcomes) => outcomes.map(({ score }) => score));
  const { mean: accuracy, interval } = bootstrapNested(scores);
  const all = counted.flat();
  return {
    arm,
    task,
    seeds: [...asked.keys()],
    questions: counted[0].length,
    accuracy,
    ci95: interval,
    bySeed: scores.map(mean),
    looks: mean(all.map(({ toolUses }) => toolUses)),
    tokens: mean(all.map(({ tokens }) => tokens.written)),
  };
}

/** Differences of scores, question by question, of the seeds that both arms have; tasks weigh by their questions. */
function pairsOf(
  asked: ReadonlyMap<string, Asked>,
  arm: string,
  against: string,
  tasks: readonly string[],
): Map<number, number[]> {
  const bySeed = new Map<number, number[]>();
  for (const task of tasks) {
    const ours = asked.get(key(arm, task));
    const theirs = asked.get(key(against, task));
    for (const [seed, a] of ours ?? []) {
      const b = theirs?.get(seed);
      if (b === undefined) continue;
      const both = answeredByBoth(a, b).map((i) => a[i].score - b[i].score);
      if (both.length > 0) bySeed.set(seed, [...(bySeed.get(seed) ?? []), ...both]);
    }
  }
  return bySeed;
}

const share = z.looseObject({ share: z.number() });
const comparedSchema = z.record(
  z.string(),
  z.looseObject({
    questions: z.number(),
    one: share,
    three: share,
    equalTokens: share,
    search: share,
    tokensPerTree: z.number(),
  }),
);

async function readSearches(ablation: Ablation, run: string): Promise<SearchResult[]> {
  const results: SearchResult[] = [];
  const searches = Object.entries(ablation.arms).filter(([, arm]) => arm.do === "search");
  for (const [arm] of searches) {
    const byTask = new Map<
      string,
      [number, Pick<Comparison, "questions" | "tokensPerTree"> & Shares][]
    >();
    for (const seed of ablation.seeds) {
      const file = inside(trainingFolder(run, { arm, seed }), "compare.json");
      if (!existsSync(file)) continue;
      const compared = await readJsonFile(file, comparedSchema, "search again");
      for (const [task, one] of Object.entries(compared))
        byTask.set(task, [...(byTask.get(task) ?? []), [seed, one]]);
    }
    for (const [task, found] of byTask) {
      const over = (pick: (one: (typeof found)[number][1]) => number) =>
        mean(found.map(([, one]) => pick(one)));
      results.push({
        arm,
        task,
        seeds: found.map(([seed]) => seed),
        questions: found[0][1].questions,
        one: over(({ one }) => one.share),
        three: over(({ three }) => three.share),
        equalTokens: over(({ equalTokens }) => equalTokens.share),
        search: over(({ search }) => search.share),
        tokensPerTree: over(({ tokensPerTree }) => tokensPerTree),
      });
    }
  }
  return results;
}

type Shares = Readonly<Record<"one" | "three" | "equalTokens" | "search", { share: number }>>;

async function readStages(ablation: Ablation, run: string): Promise<StageResult[]> {
  const results: StageResult[] = [];
  for (const arm of Object.keys(ablation.arms)) {
    const staged = (
      await Promise.all(ablation.seeds.map((seed) => stagedArm(run, { arm, seed })))
    ).filter((one) => one !== null);
    if (staged.length === 0) continue;
    const notes: Record<string, number> = {};
    for (const one of staged)
      for (const [name, value] of Object.entries(one.notes))
        notes[name] = (notes[name] ?? 0) + value / staged.length;
    const seconds = mean(staged.map((one) => one.seconds));
    results.push({ arm, seeds: staged.length, seconds, notes });
  }
  return results;
}

async function readTrends(ablation: Ablation, run: string): Promise<TrendResult[]> {
  const trends: TrendResult[] = [];
  for (const [arm, { do: verb }] of Object.entries(ablation.arms)) {
    if (verb !== "rl") continue;
    const metrics: Record<string, [number, number]> = {};
    for (const [name, points] of await curvesOf(ablation, run, arm)) {
      const values = points.map(([, value]) => value);
      metrics[name] = [mean(values.slice(0, TREND_STEPS)), mean(values.slice(-TREND_STEPS))];
    }
    if (Object.keys(metrics).length > 0) trends.push({ arm, metrics });
  }
  return trends;
}

const TREND_STEPS = 10;

export type Curve = readonly (readonly [step: number, value: number])[];

/** Of an arm's GRPO, every metric by step, averaged over the seeds that have it. */
export async function curvesOf(
  ablation: Ablation,
  run: string,
  arm: string,
): Promise<Map<string, Curve>> {
  const metrics = new Map<string, Map<number, number[]>>();
  if (armOf(ablation, arm)?.do !== "rl") return new Map();
  for (const seed of ablation.seeds) {
    const file = inside(trainingFolder(run, { arm, seed }), "metrics.jsonl");
    if (!existsSync(file)) continue;
    const rows = await readJsonlAll(file, z.looseObject({ step: z.number() }), {
      allowTornLastLine: true,
    });
    for (const { step, ...row } of rows)
      for (const [name, value] of Object.entries(row)) {
        if (typeof value !== "number") continue;
        const bySteps = metrics.get(name) ?? new Map<number, number[]>();
        bySteps.set(step, [...(bySteps.get(step) ?? []), value]);
        metrics.set(name, bySteps);
      }
  }
  return new Map(
    [...metrics].map(([name, bySteps]) => [
      name,
      [...bySteps].map(([step, values]) => [step, mean(values)] as const),
    ]),
  );
}
