/**
 * The folder of an arm: `eval/<task>/<arm>/` holds outcomes.jsonl and the traces of the questions that the
 * report shows, both written as episodes end, and arm.json when all have. Outcomes are read one after the
 * other; what is held of all of them are their figures.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { inside } from "../core/inside.ts";
import { readJsonFile } from "../core/json-file.ts";
import { readJsonl } from "../core/jsonl.ts";
import { viewSchema } from "../task/lines.ts";
import { verdictWays } from "./benchmarks/benchmark.ts";
import type { Evaluation } from "./evaluate.ts";
import { counter, type Counted, type Outcome } from "./outcome.ts";
import { spentSchema } from "./spent.ts";

export const outcomesFile = "outcomes.jsonl";
export const tracesFile = "traces.jsonl";
export const doneFile = "arm.json";

export const outcomeSchema = z.strictObject({
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

/** A finished arm, what is counted of it. @throws VigorlError("input") where a file is damaged or incomplete. */
export async function readArm(run: string, task: string, arm: string): Promise<Evaluation> {
  const { seconds, spent } = await readArmFacts(run, task, arm);
  const outcomes: Counted[] = [];
  const count = counter();
  for await (const outcome of readOutcomes(run, task, arm)) outcomes.push(count(outcome));
  return { outcomes, seconds, spent: spent ?? null };
}

/**
 * The outcomes of a finished arm in the order of its questions, those of one together.
 * @throws VigorlError("input") where a file is damaged or incomplete.
 */
export async function* readOutcomes(
  run: string,
  task: string,
  arm: string,
): AsyncGenerator<Outcome> {
  const { outcomes: count } = await readArmFacts(run, task, arm);
  const folder = armFolder(run, task, arm);
  const file = join(folder, outcomesFile);
  let found = 0;
  for await (const outcome of readJsonl(file, outcomeSchema)) {
    found++;
    yield outcome;
  }
  if (found === count) return;
  throw new VigorlError("input", `${file}: has ${found} outcomes instead of ${count}`, {
    hint: againBy(join(folder, doneFile)),
  });
}
