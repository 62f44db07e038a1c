/**
 * What a verb will do, in pieces that can be counted before it begins: for `--dry-run`, and for the time
 * that a pipeline has left.
 */
import { askedUnder } from "./eval/controls.ts";
import { warmArms, type Recipe, type TaskSet } from "./recipe.ts";

export type DryVerb = "search" | "sft" | "rl" | "eval" | "demo" | "serve";

/** Work of one sort. */
export interface Piece {
  /** The stage that it belongs to: an arm, or the verb. */
  readonly stage: string;
  readonly kind: "search" | "collect" | "sft" | "rl" | "eval";
  readonly count: number;
  readonly unit: "trees" | "episodes" | "steps" | "questions";
  /** `count` is a bound: how many there are is found out on the way. */
  readonly isBound: boolean;
  /** The recipe that it goes by. */
  readonly recipe: Recipe;
}

/** The questions of a recipe, as far as a verb reads them. */
export interface Questions {
  readonly train: readonly TaskSet[];
  readonly heldout: readonly TaskSet[];
}

/** @param numChains how many the chains are that the recipe names */
export function piecesOf(
  verb: DryVerb,
  recipe: Recipe,
  questions: Questions,
  numChains = 0,
): Piece[] {
  switch (verb) {
    case "search":
      return [searchPiece(recipe, questions, recipe.name)];
    case "sft":
      return warmStart(recipe, questions, recipe.name, numChains);
    case "rl":
      return [rlPiece(recipe, recipe.name)];
    case "eval":
      return ["model", ...recipe.eval.controls].map((arm) => evalPiece(recipe, questions, arm));
    case "demo":
      return pipelinePieces(recipe, questions);
    case "serve":
      return [];
  }
}

function pipelinePieces(recipe: Recipe, questions: Questions): Piece[] {
  const { arms, main } = recipe.demo;
  const chained = { ...sftSteps(recipe, "sft", bound(recipe, questions)), isBound: true };
  const rl = Object.entries(arms).map(([name, { tools, steps = recipe.rl.steps }]) => {
    const changes = { ...(tools ? {} : { tools: {} }), rl: { ...recipe.rl, steps } };
    return rlPiece({ ...recipe, ...changes }, name);
  });
  const others = Object.keys(arms).filter((name) => name !== main);
  const evaluated = ["base", ...warmArms, ...others, main, ...recipe.eval.controls];
  return [
    searchPiece(recipe, questions, "search"),
    ...warmStart(recipe, questions, "sft-samples"),
    chained,
    ...rl,
    ...evaluated.map((arm) => evalPiece(recipe, questions, arm)),
  ];
}

function searchPiece(recipe: Recipe, questions: Questions, stage: string): Piece {
  const { records, split } = recipe.search.run;
  const count = sum(questions[split], (set) => Math.min(records ?? Infinity, set.records.length));
  return { stage, kind: "search", count, unit: "trees", isBound: false, recipe };
}

function warmStart(recipe: Recipe, questions: Questions, stage: string, numChains = 0): Piece[] {
  const { from, collect, answers, chains } = recipe.sft;
  const numRecords = numOf(questions.train);
  if (from === "answers") {
    const count = Math.min(answers.maxExamples ?? Infinity, numRecords);
    return [sftSteps(recipe, stage, count)];
  }
  if (from === "chains") {
    const count = Math.min(chains?.maxExamples ?? Infinity, numChains);
    return [sftSteps(recipe, stage, count)];
  }
  const most = bound(recipe, questions);
  const steps = { ...sftSteps(recipe, stage, most), isBound: true };
  if (from === "search") {
    const search = withSearch(recipe, { split: "train" });
    return [searchPiece(search, questions, `${stage}-search`), steps];
  }
  const count = Math.min(collect.prompts, numRecords) * collect.samplesPerPrompt;
  const episodes: Piece = {
    stage,
    kind: "collect",
    count,
    unit: "episodes",
    isBound: false,
    recipe,
  };
  return [episodes, steps];
}

/** Most examples that playing episodes, or a search, can give. */
function bound({ sft, search, linearize }: Recipe, { train }: Questions): number {
  const numRecords = numOf(train);
  if (sft.from === "search") {
    const trees = sum(train, (set) => Math.min(search.run.records ?? Infinity, set.records.length));
    return trees * linearize.choose.maxPerTree;
  }
  const { prompts, samplesPerPrompt, maxPerPrompt, maxExamples } = sft.collect;
  const asked = Math.min(prompts, numRecords);
  return Math.min(maxExamples, asked * Math.min(samplesPerPrompt, maxPerPrompt));
}

function sftSteps(recipe: Recipe, stage: string, numExamples: number): Piece {
  const { epochs, batchSize } = recipe.sft;
  const count = epochs * Math.ceil(numExamples / batchSize);
  return { stage, kind: "sft", count, unit: "steps", isBound: false, recipe };
}

function rlPiece(recipe: Recipe, stage: string): Piece {
  return { stage, kind: "rl", count: recipe.rl.steps, unit: "steps", isBound: false, recipe };
}

function evalPiece(recipe: Recipe, { heldout }: Questions, stage: string): Piece {
  // Some conditions have nothing to ask of some questions.
  const condition = recipe.eval.controls.find((control) => control === stage) ?? "none";
  const asked = sum(
    heldout,
    (set) => askedUnder(condition, set.records, recipe.seed).records.length,
  );
  const count = asked * recipe.eval.samples;
  return { stage, kind: "eval", count, unit: "questions", isBound: false, recipe };
}

/** Replies of the model that a piece comes to, roughly: what pieces are weighed by against each other. */
export function repliesOf({ kind, count, recipe }: Piece): number {
  const { search, sft, rl } = recipe;
  if (kind === "search") return count * (1 + search.simulations);
  if (kind === "sft") return count * sft.batchSize;
  if (kind === "rl") return count * rl.promptsPerStep * rl.groupSize;
  return count;
}

function withSearch(recipe: Recipe, changes: Partial<Recipe["search"]["run"]>): Recipe {
  const run = { ...recipe.search.run, ...changes };
  return { ...recipe, search: { ...recipe.search, run } };
}

function numOf(sets: readonly TaskSet[]): number {
  return sum(sets, ({ records }) => records.length);
}

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}
