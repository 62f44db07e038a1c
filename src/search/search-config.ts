/**
 * Every knob of `search`, with its default and its meaning, and the presets of the paper and of its
 * repository. What a tree looks like depends on everything here but `run`, which only says how the
 * work is done, and on the model behind `teacher`.
 * differs: no preset judges a thought as if it were an answer, as the repository does when a rollout
 * runs out of steps.
 */
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { withPreset } from "../core/preset.ts";
import { engineSchema } from "../engine/open.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { judgeProfiles } from "../task/judge.ts";
import { stepKinds, type StepKind } from "./tree-line.ts";

const searchFields = z.strictObject({
  profile: z
    .enum(["default", "paper", "repo"])
    .default("default")
    .describe("preset that fills in what is not written: ours, the paper's, or the repository's"),
  teacher: engineSchema
    .optional()
    .describe("an engine that is asked instead of the recipe's own: a section like `engine`"),
  steps: z
    .enum(["auto", ...stepKinds])
    .default("auto")
    .describe(
      "a node is: a turn that may call a tool; a think block of one message; or a reply to a prompt that lists the thoughts so far. auto: turn where the recipe offers a tool, else thought",
    ),
  simulations: z.int().min(1).default(20).describe("selections of a leaf to expand, per tree"),
  maxDepth: z.int().min(1).default(10).describe("steps before an answer is forced"),
  depthBound: z
    .enum(["answer", "strict"])
    .default("answer")
    .describe(
      "a rollout may take one step beyond maxDepth to answer, or, as published, must answer on it",
    ),
  keepEmpty: z
    .boolean()
    .default(false)
    .describe("as published: an empty reply is a step like any other (packed steps)"),
  children: z.int().min(1).default(3).describe("replies sampled when a node is expanded"),
  rollouts: z.int().min(1).default(2).describe("rollouts from each new child"),
  rolloutSteps: z.int().min(1).default(5).describe("steps of a rollout; the last one must answer"),
  exploration: z.number().min(0).default(2).describe("the constant c of UCT"),
  score: z
    .enum(["paper", "repo"])
    .default("paper")
    .describe("Q + c·√(ln N / n), or with one added to N and n"),
  expansions: z.int().min(1).default(4).describe("times a node may be expanded"),
  widenVisits: z
    .int()
    .min(1)
    .default(4)
    .describe(
      "a node is expanded for the (n + 1)th time after n² times so many visits, or once all below it is exhausted",
    ),
  revisitTerminals: z
    .boolean()
    .default(false)
    .describe(
      "as published: simulations may end at answers, only childless nodes are expanded, and without end",
    ),
  repeats: z
    .enum(["near", "written"])
    .default("near")
    .describe("a child is dropped when its place lies near an earlier one, or is written the same"),
  repeatRadiusPx: z
    .number()
    .min(0)
    .default(10)
    .describe("how near, in pixels of the image as the model sees it"),
  wave: z
    .int()
    .min(1)
    .default(1)
    .describe("simulations of one tree that run at once, kept apart by virtual loss"),
  stopAfterCorrect: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe("end a tree after so many correct answers"),
  maxTokens: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe("end a tree once the model wrote so many tokens"),
  maxSeconds: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .describe("end a tree, with what it has, after so long; makes trees depend on the clock"),
  temperature: z.number().min(0).default(1).describe("sampling temperature of every step"),
  topP: z.number().gt(0).max(1).default(1).describe("nucleus sampling; 1 switches it off"),
  topK: z.int().min(0).default(0).describe("keep the k likeliest tokens; 0 switches it off"),
  maxTokensPerStep: z.int().min(1).default(512).describe("tokens of one step"),
  judge: z
    .enum(judgeProfiles)
    .default("default")
    .describe("rules by which an answer is right: ours, or the published ones"),
  prompts: z
    .strictObject({
      system: z
        .string()
        .nullable()
        .optional()
        .describe("system prompt of thought and packed steps; absent: ours, null: none"),
      grounded: z
        .boolean()
        .default(true)
        .describe(
          "our prompt of thought and packed steps asks for a place in each; false: for words alone, and linearize.minPoints must be 0",
        ),
      previousThought: z
        .string()
        .default("Previous thought {i}: {text}")
        .describe("packed: how an earlier thought is told"),
      finish: z
        .string()
        .default("That was the last thought. Give your answer now as <answer> ... </answer>.")
        .describe("packed: asks for the answer, as a message of its own"),
      minThoughts: z
        .tuple([z.int().min(1), z.int().min(1)])
        .nullable()
        .default(null)
        .describe("packed: asks for at least n thoughts, n drawn from this range for each record"),
      minThoughtsText: z
        .string()
        .default("Give at least {n} thoughts before you answer.")
        .describe("packed: how that is asked"),
    })
    .prefault({})
    .describe("what the teacher is told besides the recipe's prompts"),
  run: z
    .strictObject({
      records: z
        .int()
        .min(1)
        .nullable()
        .default(null)
        .describe("grow trees for the first so many records of each task; null: for all"),
      split: z.enum(["train", "heldout"]).default("train").describe("which questions"),
      compare: z
        .boolean()
        .default(false)
        .describe("then ask the same questions in plain samples, and say what search adds"),
      trees: z.int().min(1).default(64).describe("trees that grow at once"),
      treeTimeoutSeconds: z
        .number()
        .positive()
        .default(3600)
        .describe("limit of one tree; beyond it the tree counts as failed"),
    })
    .prefault({})
    .describe("how the work is done; changes no tree"),
});

export type SearchConfig = z.infer<typeof searchFields>;
/** What a tree depends on; written beside every tree. */
export type SearchRules = Omit<SearchConfig, "run" | "teacher" | "steps"> & {
  readonly steps: StepKind;
};

const published: Partial<z.input<typeof searchFields>> = {
  steps: "packed",
  maxDepth: 10,
  depthBound: "strict",
  keepEmpty: true,
  children: 3,
  rollouts: 2,
  rolloutSteps: 5,
  exploration: 2,
  revisitTerminals: true,
  repeats: "written",
  temperature: 1,
  topP: 1,
  maxTokensPerStep: 512,
  judge: "repo",
  wave: 1,
};

export const searchProfiles: Readonly<
  Record<SearchConfig["profile"], Partial<z.input<typeof searchFields>>>
> = {
  default: {},
  paper: { ...published, simulations: 20, score: "paper" },
  repo: { ...published, simulations: 8, score: "repo" },
};

/** Parses the `search` section of a recipe: written keys over the preset over the defaults. */
export const searchConfig = z.preprocess(
  (input) => withPreset(input, searchProfiles),
  searchFields,
);

/** The bound on calls of one simulation: an expansion, and a full rollout behind each child. */
export function callsPerSimulation({
  children,
  rollouts,
  rolloutSteps,
}: Pick<SearchConfig, "children" | "rollouts" | "rolloutSteps">): number {
  return children + children * rollouts * rolloutSteps;
}

/**
 * What trees depend on, with `auto` resolved by whether the recipe offers a tool.
 * @throws VigorlError("usage") where steps are turns and there is no tool to call.
 */
export function rulesOf(
  { run: _, teacher: __, steps, ...rules }: SearchConfig,
  { tools }: Pick<EpisodeConfig, "tools">,
): SearchRules {
  const kind = tools.length > 0 ? "turn" : "thought";
  if (steps === "turn" && tools.length === 0) {
    throw new VigorlError("usage", "search.steps is turn, but the recipe offers no tool", {
      hint: "name a tool under tools, or set search.steps to thought",
    });
  }
  return { ...rules, steps: steps === "auto" ? kind : steps };
}

type PlayedBy = Pick<EpisodeConfig, "tools" | "limits" | "dialect" | "budget" | "coordinates">;

/** Everything a tree depends on besides the model, the record and the seed; written beside it. */
export function settingsOf(
  rules: SearchRules,
  { tools, limits, dialect, budget, coordinates }: PlayedBy,
) {
  const offered = Object.fromEntries(tools.map(({ key, settings }) => [key, settings]));
  return { ...rules, tools: offered, limits, dialect: dialect.name, budget, coordinates };
}
