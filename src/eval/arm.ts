/**
 * Runs one arm, into its folder (`arm-files.ts`). An arm that is finished is read back; one that was
 * stopped goes on where it was.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { writeFileAtomic } from "../core/files.ts";
import {
  appendJsonl,
  orderJsonl,
  parseAt,
  readJsonl,
  truncateJsonl,
  writeJsonl,
} from "../core/jsonl.ts";
import { programName } from "../core/paths.ts";
import type { Price } from "../engine/remote/price.ts";
import { openReward } from "../task/own-reward.ts";
import { recordAt, type Records } from "../task/records.ts";
import type { RewardConfig } from "../task/reward.ts";
import { toTrace, traceSchema, TraceWriter } from "../task/trace.ts";
import { promptText } from "../task/turn.ts";
import {
  armFolder,
  doneFile,
  isArmDone,
  outcomeSchema,
  outcomesFile,
  readArm,
  tracesFile,
  type ArmFacts,
} from "./arm-files.ts";
import { conditionTable } from "./controls.ts";
import { askAll, type AskOptions, type Ended, type Evaluation } from "./evaluate.ts";
import { counter, isUnanswered, type Counted, type Outcome } from "./outcome.ts";
import { withVotes } from "./samples.ts";
import { Spending } from "./spent.ts";
import { withSamples } from "./with-records.ts";

export interface ArmOptions extends AskOptions {
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

/**
 * Runs an arm and leaves its folder; or reads it back where it is finished. What an earlier try has
 * come to is kept: each question is asked once, whatever stops and kills there were.
 */
export async function runArm(options: ArmOptions): Promise<Evaluation> {
  const { folder: run, task, arm, records, config, onProgress } = options;
  if (isArmDone(run, task, arm)) return readArm(run, task, arm);
  const folder = armFolder(run, task, arm);
  const counted: Counted[] = [];
  counted.length = records.length * config.samples;
  const sum = { done: 0, unanswered: 0, score: 0, toolUses: 0 };
  const spending = new Spending();
  const countedOf = counter();
  const count = (at: number, outcome: Outcome) => {
    counted[at] = countedOf(outcome);
    spending.add(outcome);
    sum.done++;
    if (isUnanswered(outcome)) sum.unanswered++;
    sum.score += outcome.score;
    sum.toolUses += outcome.toolUses;
  };
  const isKnown = (at: number) => counted[at] !== undefined;
  await takeUp(folder, options, isKnown, count);
  const keep = await keeper(folder, options);
  // One line after the other, and none behind one that the disk did not take whole.
  let written = Promise.resolve();
  const start = performance.now();
  await askAll(
    options,
    async (ended) => {
      written = written.then(() => keep(ended));
      await written;
      count(ended.at, ended.outcome);
      const answered = Math.max(1, sum.done - sum.unanswered);
      const figures = { accuracy: sum.score / answered, "tool uses": sum.toolUses / answered };
      const { unanswered } = sum;
      onProgress?.(sum.done, unanswered === 0 ? figures : { ...figures, unanswered });
    },
    isKnown,
  );
  const seconds = (performance.now() - start) / 1000;
  refuseSilence(task, arm, counted);
  refuseFailures(task, arm, counted, config.maxFailed);
  await putInOrder(folder, records, config.samples, counted);
  const spent = spending.total(seconds, options.price);
  const evaluation = { outcomes: counted, seconds, spent };
  await finish(folder, evaluation, options);
  return evaluation;
}

/**
 * Counts what an earlier try has left. A line that a kill left torn goes, and so do the traces of questions
 * without an outcome, and outcomes of questions that could not be asked: these come again.
 */
async function takeUp(
  folder: string,
  { records, config }: ArmOptions,
  isKnown: (at: number) => boolean,
  count: (at: number, outcome: Outcome) => void,
): Promise<void> {
  const [outcomes, traces] = [join(folder, outcomesFile), join(folder, tracesFile)];
  if (!existsSync(outcomes) && !existsSync(traces)) return;
  const numberOf = numbering(idsOf(records), config.samples);
  await truncateJsonl(outcomes);
  await orderJsonl(outcomes, (value, place) => {
    const outcome = parseAt(place, value, outcomeSchema);
    const at = numberOf(outcome);
    if (at === null || isKnown(at) || isUnanswered(outcome)) return null;
    count(at, outcome);
    return 0;
  });
  await truncateJsonl(traces);
  await orderJsonl(traces, (value, place) => {
    const at = numberOf(parseAt(place, value, traceSchema));
    return at !== null && isKnown(at) ? 0 : null;
  });
}

/** Writes down an episode: its trace where the report shows it, then its outcome. */
async function keeper(
  folder: string,
  { arm, records, config, episode: { chat }, reward: rewards, signal }: ArmOptions,
): Promise<(ended: Ended) => Promise<void>> {
  const numTraced = config.traces === "all" ? records.length : config.traces;
  const traces = new TraceWriter(folder);
  const score = await openReward(rewards);
  return async ({ at, outcome, episode, record }) => {
    const isFirst = at % config.samples === 0;
    const isSaid = outcome.stopReason !== "samplerError";
    if (isFirst && isSaid && at / config.samples < numTraced) {
      const [reward] = await score([{ episode, record }], signal);
      await traces.append(toTrace(episode, record, reward, { arm }, chat), episode);
    }
    await appendJsonl(join(folder, outcomesFile), [outcome]);
  };
}

/** Brings both files into the order of the questions; of several samples it says which give one answer. */
async function putInOrder(
  folder: string,
  records: Records,
  samples: number,
  counted: Counted[],
): Promise<void> {
  const questions = counted.filter((_, at) => at % samples === 0);
  const numberOf = numbering(
    questions.map(({ recordId }) => recordId),
    samples,
  );
  const line = z.looseObject({ recordId: z.string(), sample: z.int().optional() });
  const rankOf = (value: unknown) => numberOf(line.parse(value));
  const file = join(folder, outcomesFile);
  await orderJsonl(join(folder, tracesFile), rankOf);
  await orderJsonl(file, rankOf);
  if (samples > 1) await writeJsonl(file, voted(file, records, counted));
}

async function* voted(file: string, records: Records, counted: Counted[]): AsyncGenerator<Outcome> {
  let at = 0;
  for await (const { record, samples } of withSamples(records, readJsonl(file, outcomeSchema)))
    for (const outcome of withVotes(record, samples)) {
      const { vote } = outcome;
      counted[at] = { ...counted[at], vote };
      at++;
      yield outcome;
    }
}

/** Numbers samples as `askAll` does; null for what was not asked. */
function numbering(ids: Iterable<string>, samples: number) {
  const questions = new Map<string, number>();
  for (const id of ids) questions.set(id, questions.size);
  return ({ recordId, sample = 0 }: { recordId: string; sample?: number | undefined }) => {
    const question = questions.get(recordId);
    return question === undefined || sample >= samples ? null : question * samples + sample;
  };
}

function* idsOf(records: Records): Generator<string> {
  for (const { id } of records) yield id;
}

/** Marks the arm as done. */
async function finish(
  folder: string,
  evaluation: Evaluation,
  { records, episode, condition, rule }: ArmOptions,
): Promise<void> {
  const { outcomes, seconds, spent } = evaluation;
  const done: ArmFacts = {
    version: 1,
    outcomes: outcomes.length,
    seconds,
    questionsHash: questionsHash(records),
    condition,
    rule,
    prompt: await promptText(conditionTable[condition].record(recordAt(records, 0)), episode),
    ...(spent && { spent }),
  };
  await writeFileAtomic(join(folder, doneFile), `${JSON.stringify(done, null, 2)}\n`);
}

/** SHA-256 of what is asked and what is right, as one list in JSON; of pictures their names alone. */
function questionsHash(records: Records): string {
  const hash = createHash("sha256");
  let before = "[";
  for (const { id, question, kind, choices, answer } of records) {
    hash.update(before + JSON.stringify([id, question, kind, choices, answer]));
    before = ",";
  }
  return hash.update("]").digest("hex");
}

/** An arm in which the model was never heard says nothing about the model. */
function refuseSilence(task: string, arm: string, outcomes: readonly Counted[]): void {
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
function refuseFailures(
  task: string,
  arm: string,
  outcomes: readonly Counted[],
  most: number,
): void {
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
