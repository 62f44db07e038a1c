/** `--dry-run`: what a recipe comes to on this machine before it is run: questions, memory, and time. */
import { countLines } from "./core/jsonl.ts";
import { fits } from "./engine-memory.ts";
import { needsOf, planEngine, type EnginePlan } from "./engine-plan.ts";
import type { Memory } from "./engine/kind.ts";
import type { EngineConfig } from "./engine/open.ts";
import { piecesOf, type DryVerb, type Questions } from "./pieces.ts";
import { loadTasks, type Recipe, type TaskSet } from "./recipe.ts";
import { chainsFile } from "./stages/warm-start.ts";
import { spreadRecords } from "./task/records.ts";
import { openScene } from "./task/turn.ts";
import { timePieces, type Timed } from "./trial.ts";

/** Of the questions of one source. Tokens are positions, those of pictures among them. */
export interface QuestionCount {
  readonly split: "train" | "heldout";
  readonly task: string;
  readonly questions: number;
  /** Measured on so many of them. */
  readonly measured: number;
  readonly promptTokens: number;
  readonly longestPrompt: number;
  /** What an episode may come to beyond its prompt. */
  readonly maxTokens: number;
}

export interface Forecast {
  readonly recipe: Recipe;
  readonly engine: EngineConfig;
  /** Null where it is not this machine's. */
  readonly memory: Memory | null;
  readonly questions: readonly QuestionCount[];
  readonly pieces: readonly Timed[];
  /** Of all pieces that were timed. */
  readonly seconds: number | null;
}

/** Prompts that are measured for each source. */
const numMeasured = 32;

/** @throws VigorlError as the start of the run would */
export async function forecast(
  recipe: Recipe,
  verb: DryVerb,
  signal: AbortSignal,
): Promise<Forecast> {
  const plan = await planFor(recipe, verb, signal);
  const { memory = null } = plan;
  const questions = await questionsOf(recipe, verb);
  const counts: QuestionCount[] = [];
  for (const split of ["train", "heldout"] as const)
    for (const set of questions[split]) counts.push(await countOf(split, set, plan, signal));
  const pieces = piecesOf(verb, recipe, questions, await numChainsOf(recipe));
  const timed =
    memory !== null && !fits(memory)
      ? pieces.map((piece) => ({ piece, seconds: null, from: "does not fit" }))
      : await timePieces(pieces, questions, signal);
  const known = timed.flatMap(({ seconds }) => (seconds === null ? [] : [seconds]));
  return {
    recipe,
    engine: plan.engine,
    memory,
    questions: counts,
    pieces: timed,
    seconds: known.length === 0 ? null : known.reduce((sum, one) => sum + one, 0),
  };
}

/** The section that a verb learns by, null where it only samples. */
function learnsAs(verb: DryVerb): "sft" | "rl" | null {
  if (verb === "search" || verb === "eval" || verb === "serve") return null;
  return verb === "sft" ? "sft" : "rl";
}

async function planFor(recipe: Recipe, verb: DryVerb, signal: AbortSignal): Promise<EnginePlan> {
  const learns = learnsAs(verb);
  if (learns === null) {
    const needs = { ...needsOf("sample", recipe), purpose: verb };
    return planEngine(recipe, recipe.engine, needs, { signal });
  }
  const { trainable } = recipe[learns];
  return planEngine(recipe, recipe.engine, needsOf(learns, recipe), { trainable, signal });
}

async function questionsOf(recipe: Recipe, verb: DryVerb): Promise<Questions> {
  const splits: Readonly<Record<DryVerb, readonly string[]>> = {
    search: [recipe.search.run.split],
    sft: ["train"],
    rl: ["train"],
    eval: ["heldout"],
    demo: ["train", "heldout"],
    serve: [],
  };
  const reads = (one: "train" | "heldout") => splits[verb].includes(one);
  return {
    train: reads("train") ? await loadTasks(recipe, "train") : [],
    heldout: reads("heldout") ? await loadTasks(recipe, "heldout") : [],
  };
}

async function countOf(
  split: "train" | "heldout",
  { task, records }: TaskSet,
  { episode }: EnginePlan,
  signal: AbortSignal,
): Promise<QuestionCount> {
  const some = spreadRecords(records, numMeasured);
  const lengths: number[] = [];
  for (const record of some) {
    signal.throwIfAborted();
    lengths.push((await openScene(record, episode)).promptPositions);
  }
  const { maxTotalTokens } = episode.limits;
  return {
    split,
    task,
    questions: records.length,
    measured: some.length,
    promptTokens: lengths.reduce((sum, one) => sum + one, 0) / lengths.length,
    longestPrompt: Math.max(...lengths),
    maxTokens: maxTotalTokens,
  };
}

async function numChainsOf({ sft }: Recipe): Promise<number> {
  return sft.chains === undefined ? 0 : countLines(await chainsFile(sft.chains.from));
}
