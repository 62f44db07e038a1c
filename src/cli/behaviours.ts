/** `vigorl behaviours`: how a model looks, counted in the traces of a run or of two. */
import { Command } from "commander";
import { VigorlError } from "../core/errors.ts";
import { programName } from "../core/paths.ts";
import type { EngineConfig } from "../engine/open.ts";
import { oneOf, textOf, wholeNumber, type Verb } from "./frame.ts";

export function behavioursVerb(): Verb {
  return {
    command: new Command("behaviours")
      .description("count how a model looks in the traces of a run, or compare two")
      .argument("<run>", "run folder, such as runs/demo, or one of its groups as runs/demo:sft")
      .argument("[against]", "another, to compare with")
      .option("--traces <which>", "all, or right: those with a right answer alone", "all")
      .option("--limit <number>", "of each group at most so many questions, the same in all")
      .option(
        "--judge <engine>",
        "a model that counts too: the URL of its server, or an engine's section in YAML",
      )
      .option("--concurrency <number>", "traces before the judge at once", "8"),
    run: async (context, [run = "", against], options) => {
      const { traceChoices } = await import("../eval/behaviours/figures.ts");
      const over = oneOf("--traces", options.traces, traceChoices);
      const limit = options.limit === undefined ? null : wholeNumber("--limit", options.limit, 1);
      const concurrency = wholeNumber("--concurrency", options.concurrency, 1, 1024);
      const judge = await judgeOf(textOf(options.judge));
      const { countBehaviours } = await import("../behaviours.ts");
      const { behaviourText } = await import("../eval/behaviours/words.ts");
      const { command, quiet, signal } = context;
      const runs = against === undefined ? [run] : [run, against];
      const asked = { runs, over, limit, judge, concurrency, command, quiet, signal };
      const { report, page } = await countBehaviours(asked);
      return { json: { ...report, page }, text: `${behaviourText(report)}\n\n${page}` };
    },
  };
}

/** The engine that `--judge` names, or null. */
export async function judgeOf(text: string | undefined): Promise<EngineConfig | null> {
  if (text === undefined) return null;
  if (text.trim() === "")
    throw new VigorlError("usage", "--judge names no engine", {
      hint: `${programName} behaviours runs/demo --judge http://localhost:8000/v1`,
    });
  const { parseConfig } = await import("../core/config.ts");
  const { engineSchema } = await import("../engine/open.ts");
  const isUrl = /^https?:\/\/\S+$/.test(text.trim());
  const section = isUrl ? JSON.stringify({ kind: "openai", url: text.trim() }) : text;
  return parseConfig(section, "--judge", engineSchema);
}
