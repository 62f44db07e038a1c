/**
 * One `profile` for a whole run: it names the profile of every section that names none of its own, so
 * that one word brings one side's numbers and rules wherever the paper or its repository has any.
 * What a recipe writes stays as written. Not set, because neither side has one wording that could be
 * reproduced: `prompts`, whose style follows from the tools.
 */
import { isSection, laidOver } from "./core/preset.ts";

export const runProfiles = ["default", "paper", "paper-multi", "repo", "repo-multi"] as const;
type RunProfile = Exclude<(typeof runProfiles)[number], "default">;

/** Lays a recipe over the profiles of the sections that its own profile stands for. */
export function withRunProfile(input: unknown): unknown {
  if (!isSection(input)) return input;
  const profile = runProfiles.find((name) => name === input.profile);
  if (profile === undefined || profile === "default") return input;
  return laidOver(input, sectionsOf(profile, input.tools));
}

/**
 * Without a tool a run has single turns, and with several turns it has the zoom; a recipe that names
 * its tools keeps to them.
 */
function sectionsOf(profile: RunProfile, tools: unknown): object {
  const side = profile.startsWith("paper") ? "paper" : "repo";
  const isMulti = profile.endsWith("-multi");
  const hasZoom = tools === undefined ? isMulti : isSection(tools) && isSection(tools.zoom);
  return {
    tools: hasZoom ? { zoom: { profile: side } } : {},
    episode: { profile },
    image: { profile },
    search: { profile: side },
    // Published crops are put into chains that were searched without them.
    linearize: { profile: side, ...(isMulti ? { turns: "spliced" } : {}) },
    sft: { profile: side },
    rl: { profile },
    eval: { profile },
  };
}
