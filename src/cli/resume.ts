/** `vigorl resume`: goes on with a run by its folder alone, with the recipe of its manifest. */
import { Command } from "commander";
import { parseConfig } from "../core/config.ts";
import { VigorlError } from "../core/errors.ts";
import type { Manifest } from "../core/run-folder.ts";
import type { StageOptions } from "../stages/stage.ts";
import { runBase } from "./base.ts";
import { runDemo } from "./demo.ts";
import { runEval } from "./eval.ts";
import type { Context, Result, Verb } from "./frame.ts";
import { runRl } from "./rl.ts";
import { runSearch } from "./search.ts";
import { runSft } from "./sft.ts";

/** Goes on with the run in `path`. */
type Resume = (path: string, manifest: Manifest, how: How) => Promise<Result>;

interface How {
  readonly context: Context;
  readonly changedInputs: boolean;
}

/** Every verb that leaves a run. */
const verbs: Readonly<Record<string, Resume>> = {
  base: resumeBase,
  search: ofRecipe(runSearch),
  sft: ofRecipe(runSft),
  rl: ofRecipe(runRl),
  eval: ofRecipe(runEval),
  demo: ofRecipe(runDemo),
};

export function resumeVerb(): Verb {
  return {
    command: new Command("resume")
      .description("go on with a run that was stopped, or for longer: --rl.steps=60")
      .argument("<run>", "run folder, such as runs/nano")
      .option("--changed-inputs", "go on though data, pictures or weights were changed"),
    run: async (context, [path], options) => {
      if (path === undefined) throw new VigorlError("usage", "resume: which run?");
      const { openRunFolder } = await import("../core/run-folder.ts");
      const { manifest } = await openRunFolder(path);
      const { verb, command = context.command } = manifest;
      if (!Object.hasOwn(verbs, verb))
        throw new VigorlError("usage", `${path}: was left by ${verb}, which no verb goes on with`, {
          hint: `these do: ${Object.keys(verbs).join(", ")}`,
        });
      const changedInputs = options.changedInputs === true;
      return verbs[verb](path, manifest, { context: { ...context, command }, changedInputs });
    },
  };
}

function ofRecipe(go: (stage: StageOptions, context: Context) => Promise<Result>): Resume {
  return async (path, manifest, { context, changedInputs }) => {
    const { recipeOfManifest } = await import("../recipe.ts");
    const { withRunWeights } = await import("../run-weights.ts");
    const { checkRun } = await import("../stages/run.ts");
    const written = recipeOfManifest(`${path}/manifest.json`, manifest, context.overrides);
    const { command, quiet, signal } = context;
    const stage = {
      recipe: await withRunWeights(written),
      path,
      resume: true,
      overwrite: false,
      changedInputs,
      command,
      quiet,
      signal,
    };
    await checkRun(stage);
    return go(stage, context);
  };
}

async function resumeBase(path: string, manifest: Manifest, { context }: How): Promise<Result> {
  const { baseRecipeSchema } = await import("../nano/base-recipe.ts");
  const text = JSON.stringify(manifest.recipe);
  const file = `${path}/manifest.json`;
  const recipe = parseConfig(text, file, baseRecipeSchema, context.overrides);
  return runBase({ recipe, path, resume: true, overwrite: false }, context);
}
