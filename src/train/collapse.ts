/**
 * Alarms over the metrics of a run of GRPO: what looks like training and is none. Tool use that dies
 * out or grows for its own sake, looks that go to one place again and again, a term of the reward that
 * pays more while no more answers are right, groups without contrast, a policy without choice. Pure
 * functions of the lines of metrics.jsonl, so that log and page say the same.
 */
import { existsSync } from "node:fs";
import { z } from "zod";
import { readJsonlAll } from "../core/jsonl.ts";
import { meanOf, type MetricName, type Metrics } from "./metrics.ts";

export const alarmSchema = z.strictObject({
  window: z
    .int()
    .min(1)
    .default(10)
    .describe("steps that are averaged; the newest so many are compared with the first"),
  toolShare: z
    .number()
    .min(0)
    .max(1)
    .default(0.1)
    .describe("warn where fewer episodes than this part of the first use a tool"),
  cropOverlap: z
    .number()
    .min(0)
    .max(1)
    .default(0.8)
    .describe("warn where crops of an episode share more than this part of the smaller one"),
  zeroVarianceShare: z
    .number()
    .min(0)
    .max(1)
    .default(0.9)
    .describe("warn where more groups than this share have rewards that are all the same"),
  entropy: z
    .number()
    .min(0)
    .max(1)
    .default(0.1)
    .describe("warn where the entropy falls below this part of the first"),
  paid: z
    .number()
    .min(0)
    .default(0.05)
    .describe(
      "warn where a term of the reward rises by more than this, or tool calls by half, and accuracy by less than a fifth of it",
    ),
});
export type AlarmConfig = z.infer<typeof alarmSchema>;

/** A warning that begins to hold at a step. */
export interface Alarm {
  readonly step: number;
  /** The metric that it is about. */
  readonly metric: MetricName;
  readonly message: string;
}

/** All alarms of a run, each at the step where it begins to hold; one that ceased may come again. */
export function alarmsOf(lines: readonly Metrics[], config: AlarmConfig): Alarm[] {
  const alarms: Alarm[] = [];
  const watch = new CollapseWatch(config);
  for (const line of lines) alarms.push(...watch.note(line));
  return alarms;
}

/** Follows a run line by line. */
export class CollapseWatch {
  private readonly config: AlarmConfig;
  private readonly first: Metrics[] = [];
  private recent: Metrics[] = [];
  private held = new Set<MetricName>();

  constructor(config: AlarmConfig) {
    this.config = config;
  }

  /** Takes the line of a step; returns the alarms that begin to hold with it. */
  note(line: Metrics): Alarm[] {
    const { window } = this.config;
    if (this.first.length < window) {
      this.first.push(line);
      return [];
    }
    this.recent = [...this.recent, line].slice(-window);
    if (this.recent.length < window) return [];
    const found = findAlarms(averages(this.first), averages(this.recent), this.config);
    const begun = [...found].filter(([metric]) => !this.held.has(metric));
    this.held = new Set(found.keys());
    return begun.map(([metric, message]) => ({ step: line.step, metric, message }));
  }
}

/** All alarms of what a run has logged so far. */
export async function readAlarms(metricsFile: string, config: AlarmConfig): Promise<Alarm[]> {
  const lines = await readJsonlAll(metricsFile, lineSchema, { allowTornLastLine: true });
  return alarmsOf(lines as unknown as Metrics[], config);
}

/** A watch that has seen what a run has written already, so that a resumed run is not warned anew. */
export async function watchRun(metricsFile: string, config: AlarmConfig): Promise<CollapseWatch> {
  const watch = new CollapseWatch(config);
  if (!existsSync(metricsFile)) return watch;
  for (const line of await readJsonlAll(metricsFile, lineSchema)) watch.note(line as Metrics);
  return watch;
}

const lineSchema = z.looseObject({ step: z.number() });

type Averages = ReadonlyMap<string, number>;

function averages(lines: readonly Metrics[]): Averages {
  const names = new Set(lines.flatMap((line) => Object.keys(line) as MetricName[]));
  return new Map(
    [...names].map((name) => [
      name,
      meanOf(lines.flatMap((line) => (line[name] === undefined ? [] : [line[name]]))),
    ]),
  );
}

function findAlarms(
  first: Averages,
  recent: Averages,
  config: AlarmConfig,
): Map<MetricName, string> {
  const found = new Map<MetricName, string>();
  const pair = (name: MetricName) => ({ was: first.get(name), is: recent.get(name) });
  const accuracy = pair("accuracy");
  const gained = (accuracy.is ?? 0) - (accuracy.was ?? 0);
  const gain = `accuracy went from ${show(accuracy.was ?? 0)} to ${show(accuracy.is ?? 0)}`;

  const share = pair("toolShare");
  if (share.was !== undefined && share.is !== undefined && share.was > 0.1)
    if (share.is < config.toolShare * share.was)
      found.set(
        "toolShare",
        `tool use dies out: ${change(share)} of the episodes use a tool; raise rl.reward's worth of looking, or take questions that need it`,
      );

  const uses = pair("toolUsesPerEpisode");
  if (uses.was !== undefined && uses.is !== undefined && uses.is > 1.5 * Math.max(0.1, uses.was))
    if (gained < config.paid / 5)
      found.set(
        "toolUsesPerEpisode",
        `tool calls grow for their own sake: ${change(uses)} an episode, while ${gain}; lower what is paid for them`,
      );

  const overlap = recent.get("cropOverlap") ?? 0;
  if (overlap > config.cropOverlap)
    found.set(
      "cropOverlap",
      `an episode looks at one place again and again: its crops share ${show(overlap)} of the smaller one`,
    );

  const flat = recent.get("zeroVarianceShare") ?? 0;
  if (flat > config.zeroVarianceShare)
    found.set(
      "zeroVarianceShare",
      `no contrast: in ${show(flat)} of the groups all rewards are the same; take other questions, larger groups, or stop`,
    );

  const entropy = pair("entropy");
  if (
    entropy.was !== undefined &&
    entropy.is !== undefined &&
    entropy.is < config.entropy * entropy.was
  )
    found.set(
      "entropy",
      `the policy has no choice left: its entropy went ${change(entropy)} nats; lower rl.learningRate, or stop`,
    );

  for (const name of first.keys()) {
    if (!isTerm(name)) continue;
    const { was = 0, is = 0 } = pair(name);
    if (is - was > config.paid && gained < (is - was) / 5)
      found.set(
        name,
        `${name} pays more and no more answers are right: it went ${change({ was, is })}, while ${gain}`,
      );
  }
  return found;
}

function isTerm(name: string): name is MetricName & `reward/${string}` {
  return name.startsWith("reward/");
}

function change({ was = 0, is = 0 }: { was?: number | undefined; is?: number | undefined }) {
  return `from ${show(was)} to ${show(is)}`;
}

function show(value: number): string {
  return value.toFixed(value >= 10 ? 1 : 2);
}
