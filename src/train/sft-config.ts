/**
 * Every knob of `sft`, with its default and its meaning, and the presets of the paper and of its
 * repository, which also differ in what a sequence weighs, the line break behind a turn and warm-up.
 */
import { z } from "zod";
import { pathText } from "../core/config-paths.ts";
import { isSection, withPreset } from "../core/preset.ts";
import { engineSchema } from "../engine/open.ts";
import { answersSchema } from "./answers-config.ts";
import { optimizerFields } from "./optimizer.ts";
import { validateSchema } from "./validate-config.ts";

const sftFields = z.strictObject({
  profile: z
    .enum(["default", "paper", "repo"])
    .default("default")
    .describe("preset that fills in what is not written: ours, the paper's, or the repository's"),
  epochs: z.int().min(1).default(2).describe("passes over the examples"),
  batchSize: z.int().min(1).default(32).describe("examples per optimizer step"),
  maxTokens: z
    .int()
    .min(1)
    .default(8192)
    .describe("examples of more positions are left out, and counted"),
  aggregation: z
    .enum(["tokenMean", "sequenceMean"])
    .default("tokenMean")
    .describe("how token losses are averaged over a batch"),
  trainable: z
    .enum(["all", "language"])
    .default("all")
    .describe("what learns: everything, or the language model with the vision tower frozen"),
  ...optimizerFields({ learningRate: 2e-4, warmupRatio: 0.03, schedule: "cosine", clipNorm: 1 }),
  checkpointEvery: z.int().min(1).default(100).describe("optimizer steps between two checkpoints"),
  keepCheckpoints: z.int().min(1).default(2).describe("the newest so many checkpoints stay"),
  validate: validateSchema
    .prefault({})
    .describe("trying the weights on held-out questions in the middle of training"),
  from: z
    .enum(["collect", "answers", "chains", "search"])
    .default("collect")
    .describe(
      "examples are the model's own right episodes, the data's true answers, the chains that `chains` names, or those of a search that is made first, as a run of its own beside this one; default chains where `chains` is written",
    ),
  answers: answersSchema.prefault({}).describe("how true answers become examples"),
  chains: z
    .strictObject({
      from: pathText("run folder of a search that was linearized, or its chains.jsonl"),
      maxExamples: z
        .int()
        .min(1)
        .nullable()
        .default(null)
        .describe("chains in all, drawn by the seed, one of each category in turn"),
    })
    .optional()
    .describe("chains as examples"),
  trainLineBreak: z
    .boolean()
    .default(false)
    .describe("also imitate the line break behind the end of a turn"),
  trainDetours: z
    .boolean()
    .default(false)
    .describe("chains that correct themselves: also imitate the way that turned out wrong"),
  collect: z
    .strictObject({
      engine: engineSchema
        .optional()
        .describe(
          "an engine that plays the episodes in the learner's place, with the learner's tokenizer: a section like `engine`",
        ),
      prompts: z.int().min(1).default(512).describe("records that the base model answers"),
      samplesPerPrompt: z.int().min(1).default(4).describe("episodes for each record"),
      temperature: z.number().min(0).default(1).describe("sampling temperature"),
      minAccuracy: z.number().default(1).describe("episodes of at least this accuracy are kept"),
      minToolUses: z.int().min(0).default(0).describe("and with at least so many tool uses"),
      maxPerPrompt: z.int().min(1).default(2).describe("different episodes kept for one record"),
      maxExamples: z.int().min(1).default(1024).describe("examples in all"),
      balance: z
        .boolean()
        .default(true)
        .describe("take one of each category in turn until maxExamples are there"),
      concurrency: z.int().min(1).default(64).describe("episodes in flight at once"),
    })
    .prefault({})
    .describe("rejection sampling: the base model's own correct episodes become the examples"),
});

export type SftConfig = z.infer<typeof sftFields>;

const shared: Partial<z.input<typeof sftFields>> = {
  batchSize: 32,
  maxTokens: 8192,
  learningRate: 1e-6,
  warmupRatio: 0.03,
  schedule: "cosine",
  weightDecay: 0.01,
  beta2: 0.999,
  trainable: "language",
  trainDetours: true,
};

export const sftProfiles: Readonly<
  Record<SftConfig["profile"], Partial<z.input<typeof sftFields>>>
> = {
  default: {},
  paper: { ...shared, epochs: 3 },
  repo: {
    ...shared,
    epochs: 1,
    aggregation: "sequenceMean",
    trainLineBreak: true,
    warmup: "perStep",
  },
};

/** Parses the `sft` section of a recipe: written keys over the preset over the defaults. */
export const sftSchema = z.preprocess(
  (input) => withPreset(withChains(input), sftProfiles),
  sftFields.superRefine(({ from, chains, collect }, context) => {
    const refuse = (path: string[], message: string) =>
      context.addIssue({ code: "custom", path, message, input: path });
    if (from === "chains" && chains === undefined)
      refuse(["chains"], "sft.from is chains: name them in sft.chains.from");
    if (from !== "chains" && chains !== undefined)
      refuse(["chains"], `sft.from is ${from}: give one of the two`);
    if (from !== "collect" && collect.engine !== undefined)
      refuse(["collect", "engine"], `sft.from is ${from}: nobody plays episodes`);
  }),
);

/** Who names chains means them. */
function withChains(input: unknown): unknown {
  if (!isSection(input) || input.chains === undefined || input.from !== undefined) return input;
  return { ...input, from: "chains" };
}
