/** GRPO as a stage of a recipe. */
import { VigorlError } from "../core/errors.ts";
import { oneWriter } from "../core/run-lock.ts";
import { sayMemory } from "../engine-memory.ts";
import { plainText } from "../core/plain-text.ts";
import { needsOf, openPlannedLearner, planEngine } from "../engine-plan.ts";
import type { EngineConfig } from "../engine/open.ts";
import type { TaskSet } from "../recipe.ts";
import { trainRl } from "../train/grpo.ts";
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

/** GRPO from the engine's weights on the tasks' questions. */
export const rlStage = oneWriter(runRl);

async function runRl(
  options: StageOptions,
  engine: EngineConfig,
  tasks: readonly TaskSet[],
  label = "rl",
): Promise<Trained> {
  const { recipe, signal, quiet } = options;
  const { trainable, parity } = recipe.rl;
  const start = performance.now();
  if (recipe.lora !== null && recipe.lora.dropout > 0 && parity.enabled)
    throw new VigorlError(
      "usage",
      "lora.dropout: what the learner drops, the sampler sees, and the parity gate would stop the run",
      { hint: "set lora.dropout to 0 for rl, or rl.parity.enabled to false" },
    );
  const plan = await planEngine(recipe, engine, needsOf("rl", recipe), { trainable, signal });
  sayMemory(options, plan);
  const heldout = await validationTasks(recipe, "rl");
  const inputs = await checkInputs(options, plan, [...tasks, ...heldout]);
  const learner = await openPlannedLearner(plan);
  try {
    const { run, resume } = await openRun(options, "rl", plan, inputs);
    const files = await cardFiles("rl", recipe, tasks, plan);
    const held = validationOf(recipe, "rl", plan, heldout);
    const train = () =>
      withProgress(label, recipe.rl.steps, options, (onStep) =>
        trainRl({
          learner,
          records: tasks.flatMap((set) => [...set.records]),
          episode: plan.episode,
          config: recipe.rl,
          seed: recipe.seed,
          run,
          resume,
          signal,
          ...held,
          onStep,
          files,
          onWarning: (message) => void (quiet || process.stderr.write(`${plainText(message)}\n`)),
        }),
      );
    const result = await drawn(run, train, recipe.rl.alarms);
    return await trained(run, result, start, { brokenRecords: result.numBroken });
  } finally {
    await learner.close();
  }
}
