/** One arm with one seed: trained by the stage that it names, then evaluated as any model is. */
import { inside } from "../core/inside.ts";
import { onWeights, type EngineConfig } from "../engine/open.ts";
import { runEvaluation } from "../pipeline.ts";
import { loadRecipe, loadTasks, type Recipe } from "../recipe.ts";
import { stagedBefore, stagedOnce } from "../stages/once.ts";
import { rlStage } from "../stages/rl.ts";
import { growChains } from "../stages/search.ts";
import { sftStage } from "../stages/sft.ts";
import type { Staged, StageOptions } from "../stages/stage.ts";
import { armOf, overridesOf, startArm, type Ablation, type Arm, type Unit } from "./ablation.ts";

export interface UnitOptions {
  readonly quiet: boolean;
  readonly signal: AbortSignal;
  readonly command: string;
}

/** What the arms of one seed leave: `arms/<arm>/`, `stages/<arm>.json`, `evaluations/<arm>/`. */
export function seedFolder(run: string, seed: number): string {
  return inside(run, "seeds", String(seed));
}

/** The run folder of an arm's evaluation. */
export function evaluationFolder(run: string, { arm, seed }: Unit): string {
  return inside(seedFolder(run, seed), "evaluations", arm);
}

/** The run folder of an arm's training or search. */
export function trainingFolder(run: string, { arm, seed }: Unit): string {
  return inside(seedFolder(run, seed), "arms", arm);
}

/** What an arm's training left; null where it is not finished. */
export async function stagedArm(run: string, { arm, seed }: Unit): Promise<Staged | null> {
  return stagedBefore(seedFolder(run, seed), arm);
}

/** Runs a unit, or what an earlier try left of it. Those that it needs must be finished. */
export async function runUnit(
  ablation: Ablation,
  run: string,
  unit: Unit,
  options: UnitOptions,
): Promise<void> {
  const arm = armOf(ablation, unit.arm);
  const recipe = loadRecipe(ablation.recipe, overridesOf(ablation, unit));
  const trainedBy = ({ folder, weights }: Staged): EngineConfig =>
    onWeights(recipe.engine, weights ?? folder);
  let engine = recipe.engine;
  if (arm !== null) {
    const from =
      arm.from === startArm ? engine : trainedBy(await finished(run, { ...unit, arm: arm.from }));
    const stage = { recipe, resume: true, overwrite: false, ...options };
    const trained = await stagedOnce(seedFolder(run, unit.seed), unit.arm, () =>
      train(arm, { ...stage, path: trainingFolder(run, unit) }, from, run, unit),
    );
    if (arm.do === "search") return;
    engine = trainedBy(trained);
  }
  await runEvaluation(
    {
      ...options,
      recipe: { ...recipe, engine },
      path: evaluationFolder(run, unit),
      resume: true,
      overwrite: false,
    },
    options.command,
  );
}

async function train(
  arm: Arm,
  stage: StageOptions,
  engine: EngineConfig,
  run: string,
  unit: Unit,
): Promise<Staged> {
  const { recipe } = stage;
  const tasks = await loadTasks(recipe, "train");
  if (arm.do === "search") return growChains(stage, engine, tasks);
  if (arm.do === "rl") return rlStage(stage, engine, tasks, unit.arm);
  if (arm.chains === undefined) return sftStage(withoutChains(stage), engine, tasks);
  const { folder } = await finished(run, { ...unit, arm: arm.chains });
  const { maxExamples } = recipe.sft.collect;
  return sftStage(stage, engine, tasks, { from: folder, maxExamples });
}

/** An arm names its chains itself; those of the recipe are not meant. */
function withoutChains(stage: StageOptions): StageOptions {
  const { chains: _, ...sft } = stage.recipe.sft;
  const from = sft.from === "chains" ? "collect" : sft.from;
  const recipe: Recipe = { ...stage.recipe, sft: { ...sft, from } };
  return { ...stage, recipe };
}

async function finished(run: string, unit: Unit): Promise<Staged> {
  const staged = await stagedArm(run, unit);
  if (staged === null) throw new Error(`${unit.arm} with seed ${unit.seed} is not finished`);
  return staged;
}
