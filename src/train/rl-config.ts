/**
 * Every knob of `rl`, with its default and its meaning, and the presets of the paper and of its
 * repository where those two disagree. A preset fills in what the recipe leaves out.
 *
 * Sources: hyper-parameter tables of the paper (appendix, single-turn and multi-turn) and the run
 * script of the repository. Episode limits (turns, tokens, images of tools) belong to `episode`.
 */
import { z } from "zod";
import { withPreset } from "../core/preset.ts";
import { policyLosses, type PolicyLossName } from "../engine/losses/table.ts";
import { GREEDY_TEMPERATURE } from "../engine/types.ts";
import { rewardConfigSchema } from "../task/reward.ts";
import { alarmSchema } from "./collapse.ts";
import { optimizerFields } from "./optimizer.ts";
import { validateSchema } from "./validate-config.ts";

const lossNames = Object.keys(policyLosses) as [PolicyLossName, ...PolicyLossName[]];
const defaults = policyLosses.grpo.preset;

const rlFields = z.strictObject({
  profile: z
    .enum(["default", "paper", "paper-multi", "repo", "repo-multi"])
    .default("default")
    .describe("preset that fills in what is not written: ours, the paper's, or the repository's"),
  steps: z.int().min(1).default(100).describe("steps of sampling and learning"),
  promptsPerStep: z.int().min(1).default(16).describe("prompts sampled for each step (P)"),
  groupSize: z.int().min(2).default(8).describe("episodes for each prompt (G)"),
  concurrency: z.int().min(1).default(64).describe("episodes in flight at once"),
  temperature: z
    .number()
    .refine(
      (temperature) => temperature >= GREEDY_TEMPERATURE,
      "must be above 0: greedy episodes of a group are all the same, so none is better than another",
    )
    .default(1)
    .describe("sampling temperature, of the log-probabilities in the loss too"),
  topP: z.number().gt(0).max(1).default(1).describe("nucleus sampling; 1 switches it off"),
  topK: z.int().min(0).default(0).describe("keep the k likeliest tokens; 0 switches it off"),
  truncation: z
    .enum(["refused", "ignored"])
    .default("refused")
    .describe(
      "topP and topK draw from other probabilities than the loss assumes: refused, or ignored as in the published code",
    ),
  reward: rewardConfigSchema.prefault({}).describe("reward rules and their weights"),
  advantage: z
    .enum(["centred", "normalised"])
    .default("normalised")
    .describe("reward minus the group's mean, or that over the group's standard deviation"),
  zeroVariance: z
    .enum(["drop", "keep"])
    .default("drop")
    .describe(
      "groups whose rewards are all the same: out of the batch, or counted in its average, so that steps shrink as they grow in number",
    ),
  overlong: z
    .enum(["exclude", "mask", "keep"])
    .default("exclude")
    .describe(
      "episodes that were cut off: out of baseline and loss, out of the loss only (with reward 0), or as any other",
    ),
  loss: z
    .enum(lossNames)
    .default("grpo")
    .describe(
      "ratio of each token (grpo), of the whole sequence (gspo), or clipped ratio as a weight (cispo); also sets the clips and the aggregation that its authors use",
    ),
  aggregation: z
    .enum(["tokenMean", "sequenceMean", "constantLength", "microBatchMean"])
    .default(defaults.aggregation)
    .describe("how token losses are averaged over a batch"),
  aggregationLength: z
    .int()
    .min(1)
    .default(512)
    .describe("tokens that a sequence is divided by under constantLength"),
  aggregationMicroBatch: z
    .int()
    .min(1)
    .default(2)
    .describe("sequences in a micro-batch under microBatchMean"),
  clipLow: z
    .number()
    .min(0)
    .max(1)
    .default(defaults.clipLow)
    .describe("ratio may fall to 1 − this"),
  clipHigh: z.number().min(0).default(defaults.clipHigh).describe("ratio may rise to 1 + this"),
  dualClip: z
    .number()
    .gt(1)
    .nullable()
    .default(defaults.dualClip)
    .describe("bound c of the dual clip for negative advantages; null switches it off"),
  klCoef: z
    .number()
    .min(0)
    .default(0)
    .describe("weight of the KL to the start weights; 0 needs no reference pass"),
  numUpdates: z
    .int()
    .min(1)
    .default(1)
    .describe("optimizer steps per step: the batch is cut into so many parts"),
  epochs: z.int().min(1).default(1).describe("passes over the batch of a step"),
  importance: z
    .enum(["stale", "always", "never"])
    .default("stale")
    .describe("correct for the sampler's weights: where they were older, always, or never"),
  trainForced: z
    .boolean()
    .default(false)
    .describe(
      "as published: also learn what was put into the model's turns, which are openings of forced answers, ends of turns, and the line breaks behind them; needs importance never",
    ),
  importanceCap: z.number().min(1).default(2).describe("the correction is at most this"),
  trainable: z
    .enum(["all", "language"])
    .default("all")
    .describe("what learns: everything, or the language model with the vision tower frozen"),
  ...optimizerFields({ learningRate: 1e-4, warmupRatio: 0.05, schedule: "constant", clipNorm: 1 }),
  parity: z
    .strictObject({
      enabled: z.boolean().default(true).describe("stop where learner and sampler disagree"),
      maxGap: z
        .number()
        .gt(0)
        .default(0.05)
        .describe("largest mean |log p sampler − log p learner| of an episode, in nats"),
      minBlindRatio: z
        .number()
        .min(0)
        .default(5)
        .describe("at step 0, blanked pixels must widen the gap at least so many times"),
      minBlindGap: z
        .number()
        .min(0)
        .default(1e-4)
        .describe("and to at least so many nats; 0 switches the blind test off"),
      blindEpisodes: z.int().min(1).default(4).describe("episodes read again without pixels"),
      blindEvery: z.int().min(1).default(10).describe("steps between two such readings"),
    })
    .prefault({}),
  alarms: alarmSchema.prefault({}).describe("when a run is warned of that collapses"),
  validate: validateSchema
    .prefault({})
    .describe("trying the weights on held-out questions in the middle of training"),
  maxIdleSteps: z
    .int()
    .min(1)
    .default(10)
    .describe("steps in a row without anything to learn from, after which the run stops"),
  checkpointEvery: z.int().min(1).default(25).describe("steps between two checkpoints"),
  keepCheckpoints: z.int().min(1).default(2).describe("the newest so many checkpoints stay"),
  tracesEvery: z.int().min(1).default(10).describe("steps between two looks at whole episodes"),
  tracesPerStep: z.int().min(0).default(8).describe("episodes written at each look"),
});

export type RlConfig = z.infer<typeof rlFields>;
type RlPreset = Partial<z.input<typeof rlFields>>;

/** What the paper and the repository have in common. */
const shared: RlPreset = {
  steps: 500,
  promptsPerStep: 128,
  topP: 0.99,
  truncation: "ignored",
  learningRate: 1e-6,
  schedule: "constant",
  weightDecay: 0.01,
  beta2: 0.999,
  klCoef: 0.01,
  clipLow: 0.2,
  clipHigh: 0.28,
  zeroVariance: "keep",
  importance: "never",
  trainable: "language",
  checkpointEvery: 25,
  keepCheckpoints: 50,
};

const paper: RlPreset = {
  ...shared,
  reward: { profile: "paper" },
  advantage: "centred",
  aggregation: "tokenMean",
  dualClip: null,
  warmupRatio: 0.05,
};

const repo: RlPreset = {
  ...shared,
  reward: { profile: "repo" },
  advantage: "normalised",
  aggregation: "microBatchMean",
  aggregationMicroBatch: 2,
  dualClip: 3,
  warmup: "perStep",
  decayNorms: true,
  moments: "bfloat16",
  masters: "kahan",
};

/**
 * Presets by name. Update batches: 32 or 64 prompts of 5 episodes (4 or 2 updates of 640), 64
 * prompts of 8 (2 of 1024), and in the repository's multi-turn runs 64 single episodes (16 of 1024).
 */
export const rlProfiles: Readonly<Record<RlConfig["profile"], RlPreset>> = {
  default: {},
  paper: { ...paper, groupSize: 5, numUpdates: 4, clipNorm: 1, overlong: "keep" },
  "paper-multi": { ...paper, groupSize: 8, numUpdates: 2, clipNorm: 0.2, overlong: "mask" },
  repo: { ...repo, groupSize: 5, numUpdates: 2, warmupRatio: 0, clipNorm: 1, overlong: "keep" },
  "repo-multi": {
    ...repo,
    groupSize: 8,
    numUpdates: 16,
    warmupRatio: 0.05,
    clipNorm: 0.2,
    overlong: "mask",
    trainForced: true,
  },
};

/**
 * Parses the `rl` section of a recipe: written keys over what a written loss brings along over the
 * preset over the defaults.
 */
export const rlSchema = z.preprocess(
  (input) => withPreset(withLoss(input), rlProfiles),
  rlFields.superRefine((config, context) => {
    const refuse = (key: keyof RlConfig, message: string) =>
      context.addIssue({ code: "custom", path: [key], message, input: config[key] });
    const why = "the loss takes probabilities over all tokens, and these draw from fewer";
    if (config.truncation === "refused") {
      if (config.topP < 1) refuse("topP", `must be 1, or rl.truncation "ignored": ${why}`);
      if (config.topK > 0) refuse("topK", `must be 0, or rl.truncation "ignored": ${why}`);
    }
    if (config.trainForced && config.importance !== "never")
      refuse("importance", 'must be "never" with rl.trainForced: no sampler chose such tokens');
    for (const key of policyLosses[config.loss].unused)
      if (config[key] !== null) refuse(key, `must be null: ${config.loss} has no use for it`);
  }),
);

/** Lays the written keys over what the authors of a written loss set. */
function withLoss(input: unknown): unknown {
  if (typeof input !== "object" || input === null || !("loss" in input)) return input;
  const name = lossNames.find((one) => one === input.loss && one !== "grpo");
  return name === undefined ? input : { ...policyLosses[name].preset, ...input };
}
