/** `vigorl linearize`: turns the trees of a search run into chains, in the forms that trainers read. */
import { Command } from "commander";
import { nearestName } from "../core/config.ts";
import { VigorlError } from "../core/errors.ts";
import type { Context, Verb } from "./frame.ts";

export const chainFormats = ["sharegpt", "parquet", "parquet-paths", "svg"] as const;
export type ChainFormat = (typeof chainFormats)[number];

export function linearizeVerb(): Verb {
  return {
    command: new Command("linearize")
      .description("turn the trees of a search run into chains for sft")
      .argument("<run>", "run folder of a search, or a tree file of the reference repository")
      .option("--format <names>", `besides chains.jsonl: ${chainFormats.join(", ")}`)
      .option("--out <folder>", "folder of the chains; default the run's own"),
    run: async (context, [run], options) => {
      const { linearizeStage } = await import("../stages/linearize.ts");
      const result = await linearizeStage({
        run: run ?? "",
        formats: formatsOf(options.format),
        overrides: linearizeOverrides(context),
        ...(typeof options.out === "string" ? { out: options.out } : {}),
      });
      const { kept, found, dropped, trees, solved } = result.stats;
      const numKept = kept.direct + kept.backtrack;
      const reasons = Object.entries(dropped).map(([reason, count]) => `${reason} ${count}`);
      return {
        json: { ...result },
        text: [
          `${trees} trees, ${solved} solved: ${kept.direct} direct and ${kept.backtrack} backtracking chains`,
          `left out of ${found.direct + found.backtrack}: ${reasons.join(", ") || "none"}`,
          ...result.files,
          ...(numKept === 0
            ? ["nothing came out: loosen the rules, or search more questions"]
            : []),
        ].join("\n"),
        code: numKept === 0 ? 2 : 0,
      };
    },
  };
}

function formatsOf(text: unknown): ChainFormat[] {
  if (typeof text !== "string") return [];
  return text.split(",").map((name) => {
    const format = chainFormats.find((known) => known === name.trim());
    if (format !== undefined) return format;
    const near = nearestName(name, chainFormats);
    const hint = near === undefined ? {} : { hint: `did you mean ${near}?` };
    throw new VigorlError("usage", `--format: ${name} is none of ${chainFormats.join(", ")}`, hint);
  });
}

/** Only `linearize.*` can be changed here: the rest of the recipe is the search's. */
function linearizeOverrides({ overrides }: Context): Context["overrides"] {
  const other = overrides.find(({ path }) => !path.startsWith("linearize."));
  if (other !== undefined) {
    throw new VigorlError(
      "usage",
      `--${other.path}: the search was run with its own ${other.path}`,
      {
        hint: "only keys of the linearize section can be set here",
      },
    );
  }
  return overrides;
}
