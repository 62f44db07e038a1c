/** `vigorl resume`: goes on with a run by its folder alone, with the recipe of its manifest. */
import { Command } from "commander";
import { VigorlError } from "../core/errors.ts";
import type { StageOptions } from "../stages/stage.ts";
import { runDemo } from "./demo.ts";
import { runEval } from "./eval.ts";
import type { Context, Result, Verb } from "./frame.ts";
import { runRl } from "./rl.ts";
import { runSft } from "./sft.ts";

/** Verbs whose runs say everything in their recipe. */
const verbs: Readonly<Record<string, (stage: StageOptions, context: Context) => Promise<Result>>> =
  { sft: runSft, rl: runRl, eval: runEval, demo: runDemo };

export function resumeVerb(): Verb {
  return {
    command: new Command("resume")
      .description("go on with a run that was stopped, or for longer: --rl.steps=60")
      .argument("<run>", "run folder, such as runs/nano")
      .option("--changed-inputs", "go on though data, pictures or weights were changed"),
    run: async (context, [path], options) => {
      if (path === undefined) throw new VigorlError("usage", "resume: which run?");
      const { openRunFolder } = await import("../core/run-folder.ts");
      const { recipeOfManifest } = await import("../recipe.ts");
      const { checkRun } = await import("../stages/run.ts");
      const { manifest } = await openRunFolder(path);
      const go = Object.hasOwn(verbs, manifest.verb) ? verbs[manifest.verb] : undefined;
      if (go === undefined) {
        const command = manifest.command ?? `./vigorl ${manifest.verb} RECIPE`;
        throw new VigorlError("usage", `${path}: a run of ${manifest.verb} has flags of its own`, {
          hint: `go on with ${command} --resume`,
        });
      }
      const recipe = recipeOfManifest(`${path}/manifest.json`, manifest, context.overrides);
      const { command = context.command } = manifest;
      const stage = {
        recipe,
        path,
        resume: true,
        overwrite: false,
        changedInputs: options.changedInputs === true,
        command,
        quiet: context.quiet,
        signal: context.signal,
      };
      await checkRun(stage);
      return go(stage, { ...context, command });
    },
  };
}
