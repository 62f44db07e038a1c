/** `vigorl eval`: a model on held-out questions, with causal controls, to a report. */
import type { Verb } from "./frame.ts";
import { recipeCommand, recipeRun, sayResume, withUrl } from "./recipe-options.ts";

export function evalVerb(): Verb {
  return {
    command: withUrl(recipeCommand("eval", "evaluate a model, with causal controls, to a report")),
    run: async (context, [recipePath], options) => {
      const stage = await recipeRun(context, recipePath, options);
      await sayResume(stage, context.say);
      const { runEvaluation } = await import("../pipeline.ts");
      const { reportText } = await import("../eval/report.ts");
      const { report, page } = await runEvaluation(stage, context.command);
      return {
        json: { ...report, page },
        text: `${reportText(report)}\n\n${page}`,
      };
    },
  };
}
