/** How long base training takes: two steps of each stage, nothing kept. */
import { resolveDevice, setNumThreads } from "../torch/device.ts";
import type { BaseRecipe } from "./base-recipe.ts";
import { randomModel } from "./base.ts";
import { openStage, stageNames, type StageName } from "./base-stages.ts";

export interface TimedStage {
  readonly name: StageName;
  readonly steps: number;
  /** Pictures of a step. */
  readonly samples: number;
  /** Of all steps. */
  readonly seconds: number;
}

export interface TimedBase {
  readonly stages: readonly TimedStage[];
  /** What this process held when all stages had been tried. */
  readonly residentBytes: number;
}

const numSteps = 2;

export async function timeBase(recipe: BaseRecipe, signal?: AbortSignal): Promise<TimedBase> {
  setNumThreads(recipe.threads);
  const start = randomModel(recipe.seed, resolveDevice(recipe.device));
  const { tokenizer } = start;
  const model = start.model();
  const stages: TimedStage[] = [];
  for (const name of stageNames.filter((one) => recipe[one].steps > 0)) {
    const { steps, batchSize } = recipe[name];
    const poolSize = Math.min(recipe.lookups.poolSize, numSteps * batchSize);
    const small = { ...recipe, lookups: { ...recipe.lookups, poolSize } };
    const short = { ...small, [name]: { ...small[name], steps: numSteps } };
    const opened = performance.now();
    const stage = await openStage(name, { model, tokenizer, recipe: short, firstStep: 0, signal });
    const begun = performance.now();
    try {
      for (let at = 0; at < numSteps; at++) {
        signal?.throwIfAborted();
        await stage.step(at);
      }
      // The features of the pool are made once, before the first step.
      const pool = name === "lookups" ? (begun - opened) * (recipe.lookups.poolSize / poolSize) : 0;
      const perStep = (performance.now() - begun) / numSteps;
      stages.push({ name, steps, samples: batchSize, seconds: (perStep * steps + pool) / 1000 });
    } finally {
      await stage.close();
    }
  }
  model.dispose();
  return { stages, residentBytes: process.memoryUsage.rss() };
}
