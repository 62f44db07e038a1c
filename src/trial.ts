/**
 * How long pieces of work take: a little of each is done in a folder that is thrown away, two steps of
 * training, some trees, some questions. What belongs to the beginning of a run (models that open, tapes
 * that are recorded) is left out as far as it can be told apart; checkpoints and validation are, too.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VigorlError } from "./core/errors.ts";
import { needsOf, planEngine } from "./engine-plan.ts";
import type { EngineConfig } from "./engine/open.ts";
import type { Piece, Questions } from "./pieces.ts";
import type { Recipe, TaskSet } from "./recipe.ts";
import { evaluateArms } from "./stages/evaluate.ts";
import { rlStage } from "./stages/rl.ts";
import { searchStage } from "./stages/search.ts";
import { sftStage } from "./stages/sft.ts";
import type { StageOptions, Watch } from "./stages/stage.ts";
import { firstRecords } from "./task/records.ts";

/** What was found out about a piece. */
export interface Timed {
  readonly piece: Piece;
  /** For all of the piece; null where it could not be timed. */
  readonly seconds: number | null;
  /** Units that were timed, or why none were. */
  readonly from: number | string;
}

const numSteps = 2;
/** Trees or questions; enough to keep the places of a small model busy. */
const numQuestions = 32;

/** Times pieces one after the other; those that work alike are timed once. @throws what is no VigorlError */
export async function timePieces(
  pieces: readonly Piece[],
  questions: Questions,
  signal: AbortSignal,
): Promise<Timed[]> {
  const known = new Map<string, { perUnit: number; from: number } | string>();
  for (const piece of pieces) {
    const key = keyOf(piece);
    if (piece.count === 0 || known.has(key)) continue;
    const elsewhere = enginesOf(piece).find(({ kind }) => kind !== "local");
    if (elsewhere !== undefined) {
      known.set(key, `an engine of kind ${elsewhere.kind}: nothing is asked of a server`);
      continue;
    }
    const folder = await mkdtemp(join(tmpdir(), "vigorl-trial-"));
    try {
      const found = await trial(piece, questions, join(folder, "run"), signal);
      for (const [of, { perUnit, from }] of found) known.set(of, { perUnit, from });
    } catch (error) {
      if (!(error instanceof VigorlError) || signal.aborted) throw error;
      known.set(key, error.message.split("\n", 1)[0]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  return pieces.map((piece) => {
    const found = known.get(keyOf(piece)) ?? "nothing to do";
    if (typeof found === "string") return { piece, seconds: null, from: found };
    return { piece, seconds: found.perUnit * piece.count, from: found.from };
  });
}

type Found = Map<string, { perUnit: number; from: number }>;

/** Pieces of one key work alike. */
function keyOf({ kind, recipe }: Piece): string {
  return kind === "rl" ? `rl ${JSON.stringify(recipe.tools)}` : kind;
}

function enginesOf({ kind, recipe }: Piece): EngineConfig[] {
  if (kind === "search") return [recipe.search.teacher ?? recipe.engine];
  return kind === "collect" ? [recipe.sft.collect.engine ?? recipe.engine] : [recipe.engine];
}

async function trial(
  piece: Piece,
  questions: Questions,
  path: string,
  signal: AbortSignal,
): Promise<Found> {
  const { kind, recipe } = piece;
  const stage = (changes: Partial<Recipe>, watch?: Watch): StageOptions => ({
    recipe: { ...recipe, log: [], ...changes },
    path,
    resume: false,
    overwrite: false,
    quiet: true,
    signal,
    ...(watch === undefined ? {} : { watch }),
  });
  const one = (perUnit: number, from: number): Found =>
    new Map([[keyOf(piece), { perUnit, from }]]);
  if (kind === "search") {
    const run = { ...recipe.search.run, records: null, compare: false };
    const tasks = firstOf(questions[run.split], Math.min(numQuestions, piece.count));
    const changed = { search: { ...recipe.search, run } };
    const { seconds, trees } = await searchStage(stage(changed), recipe.engine, tasks);
    return one(seconds / trees, trees);
  }
  if (kind === "eval") {
    const { seconds, asked } = await evalTrial(stage({}), questions);
    return one(seconds / asked, asked);
  }
  const steps = new StepClock(kind === "collect" ? numSteps : Math.min(numSteps, piece.count));
  const once = { checkpointEvery: Number.MAX_SAFE_INTEGER, validate: neverOf(recipe) };
  if (kind === "rl") {
    const rl = { ...recipe.rl, ...once, validate: once.validate.rl, maxIdleSteps: numSteps + 1 };
    await steps.until(rlStage(stage({ rl }, steps), recipe.engine, questions.train));
    return one(steps.perStep("seconds/step"), steps.count);
  }
  const { sft } = shortSft(recipe, once.checkpointEvery);
  await steps.until(sftStage(stage({ sft }, steps), recipe.engine, questions.train));
  const ofBatch = steps.perStep("seconds/learn", recipe.sft.batchSize);
  const found: Found = new Map([["sft", { perUnit: ofBatch, from: steps.count }]]);
  const { episodes } = steps.counts;
  if (episodes !== undefined)
    found.set("collect", { perUnit: steps.secondsOfExamples / episodes, from: episodes });
  return found;
}

function neverOf({ sft, rl }: Recipe) {
  return { sft: { ...sft.validate, every: null }, rl: { ...rl.validate, every: null } };
}

/** As few examples as two steps need, and some more episodes, since not all are right. */
function shortSft(recipe: Recipe, checkpointEvery: number): { sft: Recipe["sft"] } {
  const { sft } = recipe;
  const most = numSteps * sft.batchSize;
  const { collect, answers, chains } = sft;
  return {
    sft: {
      ...sft,
      checkpointEvery,
      epochs: Math.max(sft.epochs, numSteps),
      validate: { ...sft.validate, every: null },
      from: sft.from === "search" ? "collect" : sft.from,
      answers: { ...answers, maxExamples: Math.min(answers.maxExamples ?? most, most) },
      ...(chains === undefined
        ? {}
        : { chains: { ...chains, maxExamples: Math.min(chains.maxExamples ?? most, most) } }),
      collect: { ...collect, prompts: Math.min(collect.prompts, numQuestions) },
    },
  };
}

/** Asks the first questions under no condition. */
async function evalTrial(
  options: StageOptions,
  { heldout }: Questions,
): Promise<{ seconds: number; asked: number }> {
  const { recipe, signal } = options;
  const needs = { ...needsOf("sample", recipe), purpose: "eval" };
  const plan = await planEngine(recipe, recipe.engine, needs, { signal });
  const sum = { seconds: 0, asked: 0 };
  const arm = { arm: "model", condition: "none" as const, tools: true };
  await evaluateArms(options, plan, [arm], firstOf(heldout, numQuestions), (_, __, done) => {
    sum.seconds += done.seconds;
    sum.asked += done.outcomes.length;
  });
  return sum;
}

/** The first questions, as evenly from all tasks as may be. */
function firstOf(sets: readonly TaskSet[], count: number): TaskSet[] {
  const each = Math.ceil(count / sets.length);
  return sets.map((set) => ({ ...set, records: firstRecords(set.records, each) }));
}

/** Hears steps, and ends the run behind the last that it waits for. */
class StepClock implements Watch {
  count = 0;
  counts: Readonly<Record<string, number>> = {};
  secondsOfExamples = 0;
  private readonly metrics: Readonly<Record<string, unknown>>[] = [];
  private readonly most: number;
  private readonly enough = new Error("enough");

  constructor(most: number) {
    this.most = most;
  }

  examples(seconds: number, counts: Readonly<Record<string, number>>): void {
    this.secondsOfExamples = seconds;
    this.counts = counts;
  }

  step(metrics: Readonly<Record<string, unknown>>): void {
    this.metrics.push(metrics);
    if (++this.count >= this.most) throw this.enough;
  }

  async until(work: Promise<unknown>): Promise<void> {
    await work.catch((error: unknown) => {
      if (error !== this.enough) throw error;
    });
  }

  /** The average of a metric; with `batchSize`, as if every batch had been full. */
  perStep(name: string, batchSize?: number): number {
    const seconds = this.metrics.map((step) => {
      const full = batchSize === undefined ? 1 : batchSize / Number(step.trainedEpisodes);
      return Number(step[name]) * full;
    });
    return seconds.reduce((sum, one) => sum + one, 0) / seconds.length;
  }
}
