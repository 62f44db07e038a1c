/** `--dry-run`: a recipe resolved against the model and the machine, and what it will hold; nothing runs. */
import type { Recipe } from "../recipe.ts";
import type { Result } from "./frame.ts";

/** Code 2 where it does not fit. @throws VigorlError as the start of the run would */
export async function dryRun(recipe: Recipe, verb: "sft" | "rl" | "sample"): Promise<Result> {
  const { needsOf, planEngine } = await import("../engine-plan.ts");
  const { memoryOf } = await import("../engine/open.ts");
  const { fits, learningOf, memoryText, totalBytes } = await import("../engine-memory.ts");
  const learning = verb === "sample" ? undefined : learningOf(recipe, verb);
  const options = learning === undefined ? {} : { trainable: learning.trainable };
  const plan = await planEngine(recipe, recipe.engine, needsOf(verb, recipe), options);
  const memory = await memoryOf(plan.engine, learning);
  if (memory === undefined)
    return {
      json: { engine: plan.engine },
      text: `engine of kind ${plan.engine.kind}: its memory is not this machine's`,
    };
  return {
    json: { engine: plan.engine, ...memory, totalBytes: totalBytes(memory), fits: fits(memory) },
    text: memoryText(memory),
    code: fits(memory) ? 0 : 2,
  };
}
