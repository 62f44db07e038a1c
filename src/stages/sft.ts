/** SFT as a stage of a recipe: examples are made or read back, and trained on. */
import { existsSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { join } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { hashFile } from "../core/files.ts";
import { oneWriter } from "../core/run-lock.ts";
import { sayMemory } from "../engine-memory.ts";
import {
  needsOf,
  openPlannedLearner,
  planEngine,
  whileOpen,
  type EnginePlan,
} from "../engine-plan.ts";
import type { EngineConfig } from "../engine/open.ts";
import type { TaskSet } from "../recipe.ts";
import { trainSft } from "../train/sft.ts";
import { checkInputs, openRun } from "./run.ts";
import type { StageOptions } from "./stage.ts";
import {
  cardFiles,
  drawn,
  trained,
  validationOf,
  validationTasks,
  withProgress,
  type Trained,
} from "./training.ts";
import { warmStartExamples, type ChainSource } from "./warm-start.ts";

/** Warm start on right episodes, or on the chains of a search. */
export const sftStage = oneWriter(runSft);

async function runSft(
  options: StageOptions,
  engine: EngineConfig,
  tasks: readonly TaskSet[],
  chains: ChainSource | undefined = options.recipe.sft.chains,
): Promise<Trained> {
  const { recipe, signal, watch } = options;
  const { trainable } = recipe.sft;
  const start = performance.now();
  const collector = chains === undefined ? recipe.sft.collect.engine : undefined;
  const needs = needsOf("sft", recipe);
  const isPlayed = chains === undefined && recipe.sft.from === "collect";
  const collects = isPlayed && collector === undefined;
  const plan = await planEngine(
    recipe,
    engine,
    collects ? { ...needs, capabilities: [...needs.capabilities, "tokenExact"] } : needs,
    { trainable, signal },
  );
  sayMemory(options, plan);
  const collecting =
    collector === undefined ? undefined : await planCollector(options, collector, plan);
  const heldout = await validationTasks(recipe, "sft");
  const inputs = await checkInputs(options, plan, [...tasks, ...heldout]);
  const learner = await openPlannedLearner(plan);
  try {
    const { run, resume } = await openRun(options, "sft", plan, inputs);
    const making = performance.now();
    const { examples, counts } = await warmStartExamples(
      options,
      run,
      (work) => (collecting === undefined ? work(learner) : whileOpen(collecting, work)),
      plan.episode,
      tasks,
      chains,
    );
    watch?.examples?.((performance.now() - making) / 1000, counts);
    const steps = recipe.sft.epochs * Math.ceil(examples.length / recipe.sft.batchSize);
    const { config, seed } = { config: recipe.sft, seed: recipe.seed };
    const files = await cardFiles("sft", recipe, tasks, plan);
    const held = validationOf(recipe, "sft", plan, heldout);
    const result = await drawn(run, () =>
      withProgress("sft", steps, options, (onStep) =>
        trainSft({ learner, examples, config, seed, run, resume, signal, ...held, onStep, files }),
      ),
    );
    return await trained(run, result, start, { ...counts, tooLong: result.numTooLong });
  } finally {
    await learner.close();
  }
}

/** An engine that plays the episodes of a warm start writes the learner's own tokens. */
async function planCollector(
  { recipe, signal }: StageOptions,
  collector: EngineConfig,
  learner: EnginePlan,
): Promise<EnginePlan> {
  const needs = needsOf("sft.collect", recipe);
  const plan = await planEngine(recipe, collector, needs, { signal }, learner.folder);
  const [theirs, ours] = await Promise.all(
    [plan, learner].map(({ folder }) => tokenizerHashes(folder)),
  );
  if (isDeepStrictEqual(theirs, ours)) return plan;
  throw new VigorlError(
    "usage",
    `sft.collect.engine: ${plan.folder} has another tokenizer than ${learner.folder}`,
    { hint: "collect with an engine of the same tokenizer, or search with it as the teacher" },
  );
}

/** Of the files that a tokenizer is made of, as far as they are there. */
async function tokenizerHashes(folder: string): Promise<string[]> {
  const files = ["tokenizer.json", "vocab.json", "merges.txt"].map((name) => join(folder, name));
  return Promise.all(files.filter((file) => existsSync(file)).map(hashFile));
}
