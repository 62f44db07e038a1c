/**
 * A recipe: one YAML file that says everything about a run. Each section is the schema of the room
 * that reads it; this file only puts them together and finds the files they name.
 */
import { basename, extname, resolve } from "node:path";
import { z } from "zod";
import { loadConfig, parseConfig, type Override } from "./core/config.ts";
import { pathText } from "./core/config-paths.ts";
import { VigorlError } from "./core/errors.ts";
import { nameFrom, nameSchema } from "./core/inside.ts";
import { insteadOfSinks, sinkNames } from "./core/metric-sinks.ts";
import { manifestSchema, type Manifest } from "./core/run-folder.ts";
import { findPath } from "./core/paths.ts";
import { ownModule } from "./core/own-module.ts";
import { openRecords } from "./data/dataset.ts";
import { ownRecords, type TaskFunction } from "./data/own-task.ts";
import { loraSchema } from "./engine/lora.ts";
import { engineSchema } from "./engine/open.ts";
import { conditions } from "./eval/controls.ts";
import type { BenchmarkSet } from "./eval/benchmarks/arm-figures.ts";
import { benchmarkFolder, loadBenchmark } from "./eval/benchmarks/load.ts";
import { benchmarkNames, benchmarkOf, protocolOf } from "./eval/benchmarks/table.ts";
import { evalSchema } from "./eval/evaluate.ts";
import { nanoRecords, nanoTaskNames } from "./nano/tasks.ts";
import { linearizeConfig } from "./search/linearize-config.ts";
import { searchConfig } from "./search/search-config.ts";
import { runProfiles, withRunProfile } from "./recipe-profiles.ts";
import { defaultBehaviourRules, type BehaviourRules } from "./task/behaviours.ts";
import { episodeSettingsSchema } from "./task/episode-config.ts";
import { withReading } from "./task/record.ts";
import { changedRecords, type Records } from "./task/records.ts";
import { rlSchema } from "./train/rl-config.ts";
import { sftSchema } from "./train/sft-config.ts";

/** Where questions come from: the nano world, a file, or a published benchmark. */
const sourceSchema = z
  .strictObject({
    nano: z.enum(nanoTaskNames).optional().describe("a task of the nano world"),
    file: pathText("a dataset: .jsonl or .parquet").optional(),
    images: pathText("folder of the images; default the file's own").optional(),
    module: ownModule<TaskFunction>("a module whose default export gives the questions").optional(),
    benchmark: z
      .enum(benchmarkNames)
      .optional()
      .describe("a published benchmark, for evaluation alone; see benchmarks.md"),
    folder: pathText(
      "where the benchmark's files lie; default where `data get` puts them",
    ).optional(),
    split: z.string().optional().describe("of the benchmark; default the one that is reported"),
    protocol: z.string().optional().describe("how the benchmark is asked and scored; default ours"),
    task: nameSchema.optional().describe("name in reports; default the task or file name"),
    count: z
      .int()
      .min(1)
      .max(10_000_000)
      .optional()
      .describe("at most so many records; nano: exactly so many"),
  })
  .refine(
    ({ nano, file, module, benchmark }) =>
      [nano, file, module, benchmark].filter(isGiven).length === 1,
    { message: "give one of nano, file, module and benchmark" },
  )
  .refine(
    ({ benchmark, folder, split, protocol }) =>
      benchmark !== undefined || ![folder, split, protocol].some(isGiven),
    { message: "folder, split and protocol go with benchmark" },
  )
  .refine((source) => source.nano === undefined || source.count !== undefined, {
    message: "a nano source needs a count",
    path: ["count"],
  });
export type Source = z.infer<typeof sourceSchema>;

function isGiven(value: unknown): boolean {
  return value !== undefined;
}

/** Warm starts of the pipeline, which are arms of its report: on chains, and on plain samples. */
export const warmArms = ["sft", "sft-samples"] as const;

/** Arms and folders that the pipeline makes whatever the recipe says. */
const otherArms = ["base", "search", "stages", "eval", ...warmArms];

const armNameSchema = nameSchema.refine(
  (name) => ![...otherArms, ...conditions].some((arm) => arm === name),
  "the name of no other arm",
);

/** A run of GRPO in the pipeline. */
const rlArmSchema = z.strictObject({
  from: z.enum(warmArms).default("sft"),
  tools: z.boolean().default(true),
  steps: z.int().min(1).optional(),
});

const recipeFields = z.strictObject({
  profile: z
    .enum(runProfiles)
    .default("default")
    .describe(
      "of every section below that names none of its own: ours, or the paper's or its repository's, single-turn or with the zoom (-multi)",
    ),
  name: nameSchema
    .regex(/^[\w.-]+$/, "a name of letters, digits, dot, dash")
    .default("run")
    .describe("of the run, and of its folder"),
  seed: z.int().min(0).default(1).describe("everything random is keyed by it"),
  engine: engineSchema
    .prefault({})
    .describe("what samples and learns; see engines.md for what each kind can do"),
  lora: loraSchema.describe(
    "sft and rl train an adapter in place of the weights; null: the weights themselves",
  ),
  log: z
    .array(z.enum(sinkNames).meta({ instead: insteadOfSinks }))
    .default([])
    .describe("where the figures of each step go besides metrics.jsonl"),
  ...episodeSettingsSchema.omit({ sampling: true }).shape,
  promptsNoTool: episodeSettingsSchema.shape.prompts.describe(
    "laid over prompts where the tool is off",
  ),
  data: z
    .strictObject({
      train: z.array(sourceSchema).default([]).describe("questions for sft and rl"),
      heldout: z
        .array(sourceSchema)
        .default([])
        .describe("questions for eval, one report section each"),
      validation: z
        .array(sourceSchema)
        .default([])
        .describe("questions for sft.validate and rl.validate; default those of heldout"),
    })
    .prefault({}),
  search: searchConfig.prefault({}),
  linearize: linearizeConfig.prefault({}),
  sft: sftSchema.prefault({}),
  rl: rlSchema.prefault({}),
  eval: evalSchema.prefault({}),
  demo: z
    .strictObject({
      arms: z
        .record(armNameSchema, rlArmSchema)
        .default({
          "rl-single": { from: "sft", tools: false, steps: 20 },
          "rl-tools": { from: "sft", tools: true },
          "rl-samples": { from: "sft-samples", tools: true },
        })
        .meta({ formerly: ["singleSteps", "samplesRl"] })
        .describe(
          "its runs of GRPO by name, in this order: from (sft: the chains of the search, sft-samples: plain samples), tools (true), steps (rl.steps)",
        ),
      main: nameSchema
        .default("rl-tools")
        .describe(
          "the arm that the report is about: compared with the others, and under the controls",
        ),
    })
    .refine(({ arms, main }) => Object.hasOwn(arms, main), {
      message: "must be one of demo.arms",
      path: ["main"],
    })
    .prefault({})
    .describe("what the whole pipeline does besides the sections above"),
});
export const recipeSchema = z.preprocess(
  withRunProfile,
  recipeFields.superRefine(({ search, linearize, data, sft, rl }, context) => {
    if (data.validation.length + data.heldout.length === 0)
      for (const [verb, { validate }] of Object.entries({ sft, rl }))
        if (validate.every !== null)
          context.addIssue({
            code: "custom",
            path: [verb, "validate", "every"],
            message: "has no questions: name some in data.validation or data.heldout",
          });
    const { profile, minPoints } = linearize;
    if (search.prompts.grounded || profile !== "default" || minPoints === 0) return;
    const message = "must be 0 where search.prompts.grounded is false: no chain names a place";
    context.addIssue({ code: "custom", path: ["linearize", "minPoints"], message });
  }),
);
export type Recipe = z.output<typeof recipeSchema>;

/**
 * Reads a recipe, or that of a run from its manifest.json; `defaults` are its sections where it writes none.
 * @throws VigorlError("usage") naming file, line and key.
 */
export function loadRecipe(
  path: string,
  overrides: readonly Override[],
  defaults: Readonly<Record<string, unknown>> = {},
): Recipe {
  const file = findPath(path);
  if (basename(file) !== "manifest.json")
    return loadConfig(file, recipeSchema, overrides, defaults);
  return recipeOfManifest(file, loadConfig(file, manifestSchema), overrides);
}

/** The recipe that a manifest keeps, its paths as from the current folder. @throws VigorlError("usage") */
export function recipeOfManifest(
  file: string,
  { recipe, cwd = "." }: Pick<Manifest, "recipe" | "cwd">,
  overrides: readonly Override[],
): Recipe {
  const folder = resolve(cwd) === resolve(".") ? "." : cwd;
  return parseConfig(JSON.stringify(recipe), file, recipeSchema, overrides, folder);
}

/** How behaviours are counted in its runs: places as its reward tells them apart, and in its own words. */
export function behaviourRules({ rl, linearize }: Recipe): BehaviourRules {
  const { minDistancePx } = rl.reward;
  return { ...defaultBehaviourRules, minDistancePx, corrections: [linearize.correction] };
}

type Split = keyof Recipe["data"];

/** The questions of one task. */
export interface TaskSet {
  readonly task: string;
  readonly records: Records;
  /** Where they are those of a published benchmark, whose protocol says how they are asked and scored. */
  readonly benchmark?: BenchmarkSet;
  /** What was found out about a file and not written in it, for people. */
  readonly note?: string;
}

/**
 * Reads or makes the questions of each source.
 * @throws VigorlError("usage") when the recipe names none, "input" for a bad line or image.
 */
export async function loadTasks(
  recipe: Recipe,
  split: Split,
  seed: number = recipe.seed,
): Promise<TaskSet[]> {
  const sources = recipe.data[split];
  if (sources.length === 0) {
    throw new VigorlError("usage", `the recipe names no questions: data.${split} is empty`, {
      hint: `add for example \`data: { ${split}: [{ nano: search, count: 512 }] }\``,
    });
  }
  const sets = await Promise.all(sources.map(async (source) => loadSource(source, split, seed)));
  const twice = sets.find(({ task }, i) => sets.findIndex((set) => set.task === task) < i);
  if (split === "heldout" && twice !== undefined) {
    throw new VigorlError("usage", `data.heldout: two sources are called ${twice.task}`, {
      hint: "give each a task: of its own; reports and folders are named by it",
    });
  }
  const reading = (split === "heldout" ? recipe.eval.image?.reading : null) ?? recipe.image.reading;
  return sets.map(({ task, records, ...rest }) => ({
    ...rest,
    task,
    records: changedRecords(records, (record) => withReading({ ...record, task }, reading)),
  }));
}

/** The questions that `sft.validate` and `rl.validate` ask. */
export async function loadValidation(recipe: Recipe): Promise<TaskSet[]> {
  return loadTasks(recipe, recipe.data.validation.length > 0 ? "validation" : "heldout");
}

async function loadSource(source: Source, split: Split, seed: number): Promise<TaskSet> {
  const { nano, file, images, count } = source;
  if (nano !== undefined) {
    // Validation has training's scenes, of a stream of its own: held-out ones are for the report.
    const records =
      split === "validation"
        ? nanoRecords({ task: nano, split: "train", count: count ?? 0, seed: seed + 1_000_003 })
        : nanoRecords({ task: nano, split, count: count ?? 0, seed });
    return { task: source.task ?? nano, records };
  }
  if (source.benchmark !== undefined) return loadBenchmarkSource(source, split);
  if (source.module !== undefined) {
    const records = await ownRecords(source.module, { split, count: count ?? null, seed });
    const name = typeof source.module === "string" ? source.module : "own";
    return { task: source.task ?? nameFrom(basename(name, extname(name))), records };
  }
  const path = findPath(file ?? "");
  const options = {
    ...(images === undefined ? {} : { imageRoot: findPath(images) }),
    ...(count === undefined ? {} : { limit: count }),
  };
  const { records, guessed } = await openRecords(path, options);
  if (records.length === 0) throw new VigorlError("input", `${path}: holds no records`);
  const kinds = Object.entries(guessed).map(([kind, n]) => `${n} ${kind}`);
  const note = kinds.length === 0 ? {} : { note: `${path}: kinds guessed: ${kinds.join(", ")}` };
  return { task: source.task ?? nameFrom(basename(path, extname(path))), records, ...note };
}

async function loadBenchmarkSource(source: Source, split: Split): Promise<TaskSet> {
  const benchmark = benchmarkOf(source.benchmark ?? "");
  if (split === "train")
    throw new VigorlError("usage", `data.train: ${benchmark.name} is a benchmark`, {
      hint: "it is for data.heldout; what was trained on it could not be evaluated on it any more",
    });
  const name = source.protocol ?? "ours";
  const { prompt } = protocolOf(benchmark, name);
  const folder = await benchmarkFolder(benchmark, source.folder);
  const { records, notes } = await loadBenchmark(benchmark, folder, {
    split: source.split,
    limit: source.count,
  });
  return {
    task: source.task ?? benchmark.name,
    records: records.map((record) => ({ ...record, question: prompt.question(record) })),
    benchmark: { benchmark, protocol: name, notes },
  };
}
