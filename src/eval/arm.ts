/**
 * One arm on disk: `eval/<task>/<arm>/` holds outcomes.json (written last, so that it marks the arm
 * as finished) and the traces of the questions that the report shows. An arm that is finished is
 * read back instead of being run again.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { writeFileAtomic } from "../core/files.ts";
import { inside } from "../core/inside.ts";
import { readJsonFile } from "../core/json-file.ts";
import { viewSchema } from "../task/lines.ts";
import type { TaskRecord } from "../task/record.ts";
import { scoreEpisode, type RewardConfig } from "../task/reward.ts";
import { toTrace, TraceWriter } from "../task/trace.ts";
import { countUses, type Trajectory } from "../task/trajectory.ts";
import { verdictWays } from "./benchmarks/benchmark.ts";
import { evaluate, isUnanswered, type EvaluateOptions, type Evaluation } from "./evaluate.ts";

const evaluationSchema = z.strictObject({
  seconds: z.number(),
  outcomes: z.array(
    z.strictObject({
      recordId: z.string(),
      sample: z.int().optional(),
      category: z.string().nullable(),
      score: z.number(),
      answer: z.string().nullable(),
      toolUses: z.int(),
      stopReason: z.string(),
      error: z.string().nullable(),
      reply: z.strictObject({ text: z.string(), view: viewSchema.nullable() }).optional(),
      verdict: z
        .strictObject({
          read: z.string().nullable(),
          how: z.enum(verdictWays),
          also: z.record(z.string(), z.number()).optional(),
        })
        .optional(),
    }),
  ),
});

export interface ArmOptions extends Omit<EvaluateOptions, "onEpisode"> {
  /** Run folder. */
  readonly folder: string;
  readonly task: string;
  readonly arm: string;
  /** For the rewards that traces show; the verdict is the judge's alone. */
  readonly reward: RewardConfig;
  readonly onProgress?: (done: number, figures: Readonly<Record<string, number>>) => void;
}

/** Folder of an arm inside a run. */
export function armFolder(run: string, task: string, arm: string): string {
  return inside(run, "eval", task, arm);
}

/** True where the arm was run to its end. */
export function isArmDone(run: string, task: string, arm: string): boolean {
  return existsSync(join(armFolder(run, task, arm), "outcomes.json"));
}

/** Outcomes of a finished arm. @throws VigorlError("input") where the file is damaged. */
export async function readArm(run: string, task: string, arm: string): Promise<Evaluation> {
  const file = join(armFolder(run, task, arm), "outcomes.json");
  return readJsonFile(file, evaluationSchema, `remove ${file} to run this arm again`);
}

/** Runs an arm and leaves its folder; or reads it back where it is finished. */
export async function runArm(options: ArmOptions): Promise<Evaluation> {
  const { folder: run, task, arm, episode: config, records, onProgress } = options;
  if (isArmDone(run, task, arm)) return readArm(run, task, arm);
  const folder = armFolder(run, task, arm);
  await rm(folder, { recursive: true, force: true });
  const traced = records.slice(0, options.config.traces);
  const episodes = new Map<TaskRecord, Trajectory>();
  const sum = { done: 0, unanswered: 0, score: 0, toolUses: 0 };
  const evaluation = await evaluate({
    ...options,
    onEpisode: (episode, record, score, sample) => {
      if (isUnanswered(episode)) sum.unanswered++;
      if (sample === 0 && traced.includes(record)) episodes.set(record, episode);
      sum.done++;
      sum.score += score;
      sum.toolUses += countUses(episode);
      const answered = Math.max(1, sum.done - sum.unanswered);
      const figures = { accuracy: sum.score / answered, "tool uses": sum.toolUses / answered };
      const { unanswered } = sum;
      onProgress?.(sum.done, unanswered === 0 ? figures : { ...figures, unanswered });
    },
  });
  refuseSilence(task, arm, evaluation);
  // In the order of the questions, whichever episode ended first.
  const traces = new TraceWriter(folder);
  for (const record of traced) {
    const episode = episodes.get(record);
    if (episode === undefined) continue;
    const reward = scoreEpisode(episode, record, options.reward);
    await traces.append(toTrace(episode, record, reward, { arm }, config.chat), episode);
  }
  await writeFileAtomic(join(folder, "outcomes.json"), `${JSON.stringify(evaluation)}\n`);
  return evaluation;
}

/** An arm in which the model was never heard says nothing about the model. */
function refuseSilence(task: string, arm: string, { outcomes }: Evaluation): void {
  if (!outcomes.every(isUnanswered)) return;
  const reason = outcomes[0].error ?? "no reason given";
  throw new VigorlError(
    "input",
    `eval ${task} ${arm}: none of ${outcomes.length} questions could be asked: ${reason}`,
    { hint: "mend the questions (see ./vigorl data check), then go on with --resume" },
  );
}
