/**
 * One arm on disk: `eval/<task>/<arm>/` holds outcomes.jsonl and the traces of the questions that the
 * report shows, both written as episodes end, and arm.json when all have. An arm that is finished is
 * read back; one that was stopped goes on where it was.
 */
import { programName } from "../core/paths.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { hashText, writeFileAtomic } from "../core/files.ts";
import { inside } from "../core/inside.ts";
import { readJsonFile } from "../core/json-file.ts";
import { appendJsonl, orderJsonl, readJsonlAll, truncateJsonl, writeJsonl } from "../core/jsonl.ts";
import type { Price } from "../engine/remote/price.ts";
import { viewSchema } from "../task/lines.ts";
import { promptText } from "../task/turn.ts";
import type { TaskRecord } from "../task/record.ts";
import { openReward } from "../task/own-reward.ts";
import type { RewardConfig } from "../task/reward.ts";
import { readTraces, toTrace, TraceWriter } from "../task/trace.ts";
import type { Trajectory } from "../task/trajectory.ts";
import { conditionTable } from "./controls.ts";
import { verdictWays } from "./benchmarks/benchmark.ts";
import { evaluate, type EvaluateOptions, type Evaluation } from "./evaluate.ts";
import { isUnanswered, keyOf, type Outcome } from "./outcome.ts";
import { withVotes } from "./samples.ts";
import { spentOf, spentSchema } from "./spent.ts";

const outcomeSchema = z.strictObject({
  recordId: z.string(),
  sample: z.int().optional(),
  category: z.string().nullable(),
  score: z.number(),
  answer: z.string().nullable(),
  toolUses: z.int(),
  tokens: z.strictObject({ written: z.int(), read: z.int() }),
  usage: z.strictObject({ calls: z.int(), prompt: z.int(), generated: z.int() }).optional(),
  stopReason: z.string(),
  error: z.string().nullable(),
  reply: z.strictObject({ text: z.string(), view: viewSchema.nullable() }),
  verdict: z
    .strictObject({
      read: z.string().nullable(),
      how: z.enum(verdictWays),
      also: z.record(z.string(), z.number()).optional(),
    })
    .optional(),
  judged: z
    .strictObject({ verdict: z.enum(["right", "wrong", "unread"]), rules: z.number() })
    .optional(),
  vote: z.int().nullable().optional(),
});

/** Written when an arm is finished. */
const doneSchema = z.strictObject({
  version: z.literal(1),
  outcomes: z.int(),
  /** Of the try that finished it. */
  seconds: z.number(),
  /** Of what was asked: arms are compared where it is the same. */
  questionsHash: z.string(),
  condition: z.string(),
  /** By which the verdicts came about: a protocol, or a judge. */
  rule: z.string(),
  /** The first question as the model read it, `<image>` for each picture. */
  prompt: z.string().nullable(),
  /** What it took; absent in old runs. */
  spent: spentSchema.optional(),
});
export type ArmFacts = z.infer<typeof doneSchema>;

export interface ArmOptions extends Omit<EvaluateOptions, "onEpisode"> {
  /** Run folder. */
  readonly folder: string;
  readonly task: string;
  readonly arm: string;
  /** For the rewards that traces show; the verdict is the judge's alone. */
  readonly reward: RewardConfig;
  /** Name of what judges: a protocol, or a judge of the recipe. */
  readonly rule: string;
  /** Of the sampler's tokens. */
  readonly price?: Price | undefined;
  readonly onProgress?: (done: number, figures: Readonly<Record<string, number>>) => void;
}

/** Folder of an arm inside a run. */
export function armFolder(run: string, task: string, arm: string): string {
  return inside(run, "eval", task, arm);
}

/** True where the arm was run to its end. */
export function isArmDone(run: string, task: string, arm: string): boolean {
  return existsSync(join(armFolder(run, task, arm), doneFile));
}

/** What a finished arm was made with. @throws VigorlError("input") where the file is damaged. */
export async function readArmFacts(run: string, task: string, arm: string): Promise<ArmFacts> {
  const file = join(armFolder(run, task, arm), doneFile);
  return readJsonFile(file, doneSchema, againBy(file));
}

const againBy = (file: string) => `remove ${file}; --resume runs what is missing`;

/** Outcomes of a finished arm. @throws VigorlError("input") where a file is damaged or incomplete. */
export async function readArm(run: string, task: string, arm: string): Promise<Evaluation> {
  const folder = armFolder(run, task, arm);
  const { outcomes: count, seconds, spent } = await readArmFacts(run, task, arm);
  const file = join(folder, outcomesFile);
  const outcomes = await readJsonlAll(file, outcomeSchema);
  if (outcomes.length === count) return { outcomes, seconds, price: spent?.price };
  throw new VigorlError("input", `${file}: has ${outcomes.length} outcomes instead of ${count}`, {
    hint: againBy(join(folder, doneFile)),
  });
}

/**
 * Runs an arm and leaves its folder; or reads it back where it is finished. What an earlier try has
 * come to is kept: each question is asked once, whatever stops and kills there were.
 */
export async function runArm(options: ArmOptions): Promise<Evaluation> {
  const { folder: run, task, arm, episode: config, records, onProgress } = options;
  if (isArmDone(run, task, arm)) return readArm(run, task, arm);
  const folder = armFolder(run, task, arm);
  const earlier = await earlierOutcomes(folder);
  const { traces: most } = options.config;
  const traced = new Set(most === "all" ? records : records.slice(0, most));
  const traces = new TraceWriter(folder);
  const sum = { done: 0, unanswered: 0, score: 0, toolUses: 0 };
  const count = (outcome: Outcome) => {
    sum.done++;
    if (isUnanswered(outcome)) sum.unanswered++;
    sum.score += outcome.score;
    sum.toolUses += outcome.toolUses;
  };
  for (const outcome of earlier.values()) count(outcome);
  // One line after the other, and none behind one that the disk did not take whole.
  let written = Promise.resolve();
  const score = await openReward(options.reward);
  const keep = async (episode: Trajectory, record: TaskRecord, outcome: Outcome) => {
    if (traced.has(record) && (outcome.sample ?? 0) === 0) {
      const [reward] = await score([{ episode, record }], options.signal);
      await traces.append(toTrace(episode, record, reward, { arm }, config.chat), episode);
    }
    await appendJsonl(join(folder, outcomesFile), [outcome]);
  };
  const asked = await evaluate({
    ...options,
    earlier,
    onEpisode: async (episode, record, outcome) => {
      written = written.then(() => keep(episode, record, outcome));
      await written;
      count(outcome);
      const answered = Math.max(1, sum.done - sum.unanswered);
      const figures = { accuracy: sum.score / answered, "tool uses": sum.toolUses / answered };
      const { unanswered } = sum;
      onProgress?.(sum.done, unanswered === 0 ? figures : { ...figures, unanswered });
    },
  });
  const outcomes = withVotes(records, asked.outcomes);
  const evaluation = { ...asked, outcomes, price: options.price };
  refuseSilence(task, arm, evaluation);
  refuseFailures(task, arm, evaluation, options.config.maxFailed);
  await finish(folder, evaluation, options);
  return evaluation;
}

const outcomesFile = "outcomes.jsonl";
const tracesFile = "traces.jsonl";
const doneFile = "arm.json";

/**
 * What an earlier try has left, by `keyOf`. A line that a kill left torn goes, and so do the traces of
 * questions without an outcome, and outcomes of questions that could not be asked: these come again.
 */
async function earlierOutcomes(folder: string): Promise<Map<string, Outcome>> {
  const file = join(folder, outcomesFile);
  await truncateJsonl(file);
  const earlier = new Map<string, Outcome>();
  if (existsSync(file)) {
    const lines = await readJsonlAll(file, outcomeSchema);
    for (const outcome of lines.filter((line) => !isUnanswered(line)))
      earlier.set(keyOf(outcome), outcome);
    if (earlier.size < lines.length) await writeJsonl(file, [...earlier.values()]);
  }
  const traces = join(folder, tracesFile);
  await truncateJsonl(traces);
  if (existsSync(traces)) {
    const kept = await readTraces(traces);
    const known = kept.filter(({ recordId }) => earlier.has(keyOf({ recordId })));
    if (known.length < kept.length) await writeJsonl(traces, known);
  }
  return earlier;
}

/** Brings both files into the order of the questions, and marks the arm as done. */
async function finish(
  folder: string,
  evaluation: Evaluation,
  { records, episode, condition, rule }: ArmOptions,
): Promise<void> {
  const { outcomes, seconds } = evaluation;
  const spent = spentOf(evaluation);
  await writeJsonl(join(folder, outcomesFile), outcomes);
  const rank = new Map(records.map(({ id }, i) => [id, i]));
  const line = z.looseObject({ recordId: z.string() });
  await orderJsonl(join(folder, tracesFile), (value) => rank.get(line.parse(value).recordId) ?? -1);
  const done: ArmFacts = {
    version: 1,
    outcomes: outcomes.length,
    seconds,
    questionsHash: questionsHash(records),
    condition,
    rule,
    prompt: await promptText(conditionTable[condition].record(records[0]), episode),
    ...(spent && { spent }),
  };
  await writeFileAtomic(join(folder, doneFile), `${JSON.stringify(done, null, 2)}\n`);
}

/** SHA-256 of what is asked and what is right; of pictures their names alone. */
function questionsHash(records: readonly TaskRecord[]): string {
  const asked = records.map(({ id, question, kind, choices, answer }) => [
    id,
    question,
    kind,
    choices,
    answer,
  ]);
  return hashText(JSON.stringify(asked));
}

/** An arm in which the model was never heard says nothing about the model. */
function refuseSilence(task: string, arm: string, { outcomes }: Evaluation): void {
  if (!outcomes.every(isUnanswered)) return;
  const reason = outcomes[0].error ?? "no reason given";
  throw new VigorlError(
    "input",
    `eval ${task} ${arm}: none of ${outcomes.length} questions could be asked: ${reason}`,
    { hint: `mend the questions (see ${programName} data check), then go on with --resume` },
  );
}

/** So many ids are named. */
const MAX_NAMED = 5;

/** A figure over the questions that happened to work is none. */
function refuseFailures(task: string, arm: string, { outcomes }: Evaluation, most: number): void {
  const failed = outcomes.filter(isUnanswered);
  const share = failed.length / outcomes.length;
  if (share <= most) return;
  const ids = failed.slice(0, MAX_NAMED).map(({ recordId }) => recordId);
  const more = failed.length > ids.length ? `, and ${failed.length - ids.length} more` : "";
  const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
  throw new VigorlError(
    "input",
    `eval ${task} ${arm}: ${failed.length} of ${outcomes.length} questions failed (${percent(share)}; eval.maxFailed allows ${percent(most)}): ${ids.join(", ")}${more}; the first: ${failed[0].error ?? "no reason given"}`,
    { hint: "go on with --resume, which asks these again, or allow more with --eval.maxFailed" },
  );
}
