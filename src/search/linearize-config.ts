/** Every knob of `linearize`, with its default and its meaning, and the published presets. */
import { z } from "zod";
import { withPreset } from "../core/preset.ts";

const linearizeFields = z.strictObject({
  profile: z
    .enum(["default", "paper", "repo"])
    .default("default")
    .describe(
      "rules by which trees become chains: ours, or the published builder's; the paper also removes duplicates across records",
    ),
  turns: z
    .enum(["auto", "spliced"])
    .default("auto")
    .describe(
      "auto: as the tree was searched; spliced: chains without crops get a tool call for every new place that a sentence names",
    ),
  direct: z.boolean().default(true).describe("chains that go straight to a right answer"),
  backtrack: z
    .boolean()
    .default(true)
    .describe("chains that try a wrong way first, say so, and go the right one"),
  correction: z
    .string()
    .min(1)
    .default("That does not hold up. I go back and look elsewhere.")
    .describe("what is said between the two"),
  layout: z
    .enum(["inline", "block"])
    .default("block")
    .describe("single-turn chains: the thought on the line of its tags, or on lines of its own"),
  minPoints: z.int().min(0).default(1).describe("a chain names at least so many places"),
  repeatRadiusPx: z
    .number()
    .min(0)
    .default(10)
    .describe("crops of a chain lie this far apart, in pixels of the image as the model sees it"),
  maxTurns: z.int().min(1).default(5).describe("turns of a chain with crops, the answer included"),
  maxThoughts: z.int().min(1).default(20).describe("thoughts of a chain without crops"),
  duplicates: z
    .strictObject({
      within: z
        .number()
        .gt(0)
        .max(1)
        .default(0.8)
        .describe(
          "chains of one record at the same places: the share of common wording from which one goes",
        ),
      across: z
        .number()
        .gt(0)
        .max(1)
        .default(1)
        .describe("the same for chains of different records, with their questions"),
    })
    .prefault({})
    .describe("1 removes equal wording only"),
  choose: z
    .strictObject({
      maxPerTree: z.int().min(1).default(8).describe("chains of one record"),
      maxChains: z.int().min(1).nullable().default(null).describe("chains in all"),
      backtrackShare: z
        .number()
        .min(0)
        .max(1)
        .nullable()
        .default(null)
        .describe("at most this share of chains goes a wrong way first; null: as they come"),
      balance: z
        .enum(["none", "category", "answer"])
        .default("none")
        .describe("take chains evenly from these groups until maxChains are there"),
    })
    .prefault({})
    .describe("which of the chains are kept"),
  splice: z
    .strictObject({
      maxToolCalls: z.int().min(1).default(4).describe("tool calls of a spliced chain"),
      moveFirstCall: z
        .number()
        .min(0)
        .max(1)
        .default(0)
        .describe(
          "probability that the first call is put anywhere but last among the calls, as published",
        ),
      keepRest: z
        .boolean()
        .default(true)
        .describe(
          "what is thought behind the last place becomes the last thought; else it is lost",
        ),
      lastThink: z
        .string()
        .min(1)
        .default("I have looked enough and give my answer now.")
        .describe("the last thought where there is none"),
    })
    .prefault({})
    .describe("how crops get into chains that were thought without them"),
});

export type LinearizeConfig = z.infer<typeof linearizeFields>;

type Preset = Partial<z.input<typeof linearizeFields>>;

const published: Preset = { layout: "block", choose: { maxPerTree: 10_000 } };

export const linearizeProfiles: Readonly<Record<LinearizeConfig["profile"], Preset>> = {
  default: {},
  paper: { ...published, splice: { moveFirstCall: 0.2, maxToolCalls: 5 } },
  repo: {
    ...published,
    splice: { moveFirstCall: 0.2, maxToolCalls: 5, keepRest: false },
  },
};

/** Parses the `linearize` section of a recipe: written keys over the preset over the defaults. */
export const linearizeConfig = z.preprocess(
  (input) => withPreset(input, linearizeProfiles),
  linearizeFields,
);
