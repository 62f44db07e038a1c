/**
 * The stages of a pipeline as functions of a recipe: warm start, GRPO, evaluation arms. The verbs
 * `sft`, `rl` and `eval` are one stage each; `pipeline.ts` puts them in a row.
 */
import { existsSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { join } from "node:path";
import { cardOfRun } from "./card-of-run.ts";
import { VigorlError } from "./core/errors.ts";
import { hashFile } from "./core/files.ts";
import { inside } from "./core/inside.ts";
import { oneWriter, type RunLock } from "./core/run-lock.ts";
import { plainText } from "./core/plain-text.ts";
import { Progress } from "./core/progress.ts";
import {
  createRunFolder,
  holdsRun,
  isRunFolder,
  openRunFolder,
  RunFolder,
} from "./core/run-folder.ts";
import {
  episodeConfig,
  needsOf,
  openPlanned,
  openPlannedLearner,
  planEngine,
  type EnginePlan,
} from "./engine-plan.ts";
import {
  adapterFolder,
  engineLabel,
  engineVersions,
  memoryOf,
  type EngineConfig,
} from "./engine/open.ts";
import type { Sampler } from "./engine/types.ts";
import { learningOf, memoryLine } from "./engine-memory.ts";
import { runArm } from "./eval/arm.ts";
import type { Protocol } from "./eval/benchmarks/benchmark.ts";
import { protocolOf } from "./eval/benchmarks/table.ts";
import { conditionTable, type Condition } from "./eval/controls.ts";
import { ruleName, type Evaluation } from "./eval/evaluate.ts";
import { modelJudge, type ModelJudge } from "./eval/model-judge.ts";
import { loadValidation, type Recipe, type TaskSet } from "./recipe.ts";
import { changedInputs, changesOf, inputHashes } from "./run-inputs.ts";
import { recipeChanges, recipeToKeep, refuseRecipe } from "./resume.ts";
import { forgetWeights, recordWeights } from "./run-weights.ts";
import { present } from "./task/episode-config.ts";
import { cardFile } from "./task/model-card.ts";
import { none } from "./task/tools/controls.ts";
import { trainRl } from "./train/grpo.ts";
import type { LoopResult } from "./train/loop.ts";
import { drawCurves } from "./train/draw-curves.ts";
import type { Metrics } from "./train/metrics.ts";
import type { Validation } from "./train/validation.ts";
import { trainSft } from "./train/sft.ts";
import { warmStartExamples, type ChainSource } from "./warm-start.ts";

/** How a stage is run. */
export interface StageOptions {
  readonly recipe: Recipe;
  /** Run folder of the stage. */
  readonly path: string;
  /** Go on where a run of the same recipe was stopped. */
  readonly resume: boolean;
  readonly overwrite: boolean;
  /** Resume though data or weights are no longer those that the run began with. */
  readonly changedInputs?: boolean;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
  /** The command that asked for it. */
  readonly command?: string;
  /** The lock of the run folder, held by the stage itself. */
  readonly lock?: RunLock;
}

/** What a stage leaves: its folder (of training, the checkpoint of its weights), and how long it took. */
export interface Staged {
  readonly folder: string;
  /** What trained weights can be loaded from: the folder, or a handle of the engine that keeps them. */
  readonly weights?: string;
  readonly seconds: number;
  /** Counts by what they count. */
  readonly notes: Readonly<Record<string, number>>;
}

/** What training leaves. */
export interface Trained extends Staged {
  readonly steps: number;
  /** Its validations got no better. */
  readonly isStoppedEarly: boolean;
}

/** Warm start on right episodes, or on the chains of a search. */
export const sftStage = oneWriter(runSft);

async function runSft(
  options: StageOptions,
  engine: EngineConfig,
  tasks: readonly TaskSet[],
  chains: ChainSource | undefined = options.recipe.sft.chains,
): Promise<Trained> {
  const { recipe, signal, quiet } = options;
  const { trainable } = recipe.sft;
  const start = performance.now();
  const collector = chains === undefined ? recipe.sft.collect.engine : undefined;
  const needs = needsOf("sft", recipe);
  const isPlayed = chains === undefined && recipe.sft.from === "collect";
  const collects = isPlayed && collector === undefined;
  const plan = await planEngine(
    recipe,
    engine,
    collects ? { ...needs, capabilities: [...needs.capabilities, "tokenExact"] } : needs,
    { trainable, signal },
  );
  await sayMemory(options, plan, "sft");
  const collecting =
    collector === undefined ? undefined : await planCollector(options, collector, plan);
  const heldout = await validationTasks(recipe, "sft");
  const inputs = await checkInputs(options, plan, [...tasks, ...heldout]);
  const learner = await openPlannedLearner(plan);
  try {
    const { run, resume } = await openRun(options, "sft", plan, inputs);
    const { examples, counts } = await warmStartExamples(
      options,
      run,
      (work) => (collecting === undefined ? work(learner) : whileOpen(collecting, work)),
      plan.episode,
      tasks,
      chains,
    );
    const steps = recipe.sft.epochs * Math.ceil(examples.length / recipe.sft.batchSize);
    const { config, seed } = { config: recipe.sft, seed: recipe.seed };
    const files = await cardFiles("sft", recipe, tasks, plan);
    const held = validationOf(recipe, "sft", plan, heldout);
    const result = await drawn(run, () =>
      withProgress("sft", steps, quiet, (onStep) =>
        trainSft({ learner, examples, config, seed, run, resume, signal, ...held, onStep, files }),
      ),
    );
    return await trained(run, result, start, { ...counts, tooLong: result.numTooLong });
  } finally {
    await learner.close();
  }
}

/** An engine that plays the episodes of a warm start writes the learner's own tokens. */
async function planCollector(
  { recipe, signal }: StageOptions,
  collector: EngineConfig,
  learner: EnginePlan,
): Promise<EnginePlan> {
  const needs = needsOf("sft.collect", recipe);
  const plan = await planEngine(recipe, collector, needs, { signal }, learner.folder);
  const [theirs, ours] = await Promise.all(
    [plan, learner].map(({ folder }) => tokenizerHashes(folder)),
  );
  if (isDeepStrictEqual(theirs, ours)) return plan;
  throw new VigorlError(
    "usage",
    `sft.collect.engine: ${plan.folder} has another tokenizer than ${learner.folder}`,
    { hint: "collect with an engine of the same tokenizer, or search with it as the teacher" },
  );
}

/** Of the files that a tokenizer is made of, as far as they are there. */
async function tokenizerHashes(folder: string): Promise<string[]> {
  const files = ["tokenizer.json", "vocab.json", "merges.txt"].map((name) => join(folder, name));
  return Promise.all(files.filter((file) => existsSync(file)).map(hashFile));
}

async function whileOpen<T>(plan: EnginePlan, work: (sampler: Sampler) => Promise<T>): Promise<T> {
  const sampler = await openPlanned(plan);
  try {
    return await work(sampler);
  } finally {
    await sampler.close();
  }
}

/** A line about the memory that training will take. */
async function sayMemory(
  { recipe, quiet }: StageOptions,
  { engine }: EnginePlan,
  verb: "sft" | "rl",
): Promise<void> {
  if (quiet) return;
  const memory = await memoryOf(engine, learningOf(recipe, verb));
  if (memory !== undefined) process.stderr.write(`${memoryLine(memory)}\n`);
}

/** GRPO from the engine's weights on the tasks' questions. */
export const rlStage = oneWriter(runRl);

async function runRl(
  options: StageOptions,
  engine: EngineConfig,
  tasks: readonly TaskSet[],
  label = "rl",
): Promise<Trained> {
  const { recipe, signal, quiet } = options;
  const { trainable, parity } = recipe.rl;
  const start = performance.now();
  if (recipe.lora !== null && recipe.lora.dropout > 0 && parity.enabled)
    throw new VigorlError(
      "usage",
      "lora.dropout: what the learner drops, the sampler sees, and the parity gate would stop the run",
      { hint: "set lora.dropout to 0 for rl, or rl.parity.enabled to false" },
    );
  const plan = await planEngine(recipe, engine, needsOf("rl", recipe), { trainable, signal });
  await sayMemory(options, plan, "rl");
  const heldout = await validationTasks(recipe, "rl");
  const inputs = await checkInputs(options, plan, [...tasks, ...heldout]);
  const learner = await openPlannedLearner(plan);
  try {
    const { run, resume } = await openRun(options, "rl", plan, inputs);
    const files = await cardFiles("rl", recipe, tasks, plan);
    const held = validationOf(recipe, "rl", plan, heldout);
    const result = await drawn(run, () =>
      withProgress(label, recipe.rl.steps, quiet, (onStep) =>
        trainRl({
          learner,
          records: tasks.flatMap((set) => set.records),
          episode: plan.episode,
          config: recipe.rl,
          seed: recipe.seed,
          run,
          resume,
          signal,
          ...held,
          onStep,
          files,
          onWarning: (message) => void (quiet || process.stderr.write(`${plainText(message)}\n`)),
        }),
      ),
    );
    return await trained(run, result, start, { brokenRecords: result.numBroken });
  } finally {
    await learner.close();
  }
}

/** What every checkpoint of a run holds beside its weights: what the model is for. */
async function cardFiles(
  verb: "sft" | "rl",
  recipe: Recipe,
  tasks: readonly TaskSet[],
  { folder }: EnginePlan,
): Promise<Record<string, string>> {
  const card = await cardOfRun(verb, recipe, tasks, folder);
  return { [cardFile]: `${JSON.stringify(card, null, 1)}\n` };
}

/** What training is validated on; nothing where the recipe does not ask for it. */
async function validationTasks(recipe: Recipe, verb: "sft" | "rl"): Promise<TaskSet[]> {
  return recipe[verb].validate.every === null ? [] : loadValidation(recipe);
}

function validationOf(
  recipe: Recipe,
  verb: "sft" | "rl",
  { episode }: EnginePlan,
  heldout: readonly TaskSet[],
): { validation?: Validation } {
  const { validate: config } = recipe[verb];
  if (config.every === null) return {};
  const records = heldout.flatMap((set) => set.records);
  const { seed } = recipe;
  return { validation: { records, episode, reward: recipe.rl.reward, config, seed } };
}

/** Trains, and leaves the curves of what was done, however that ends. */
async function drawn<T extends LoopResult>(run: RunFolder, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    // The failure itself is what is told.
    await drawCurves(run).catch(() => undefined);
    throw error;
  }
  await drawCurves(run);
  return result;
}

/** An arm of an evaluation: a model under a condition. */
export interface ArmPlan {
  readonly arm: string;
  readonly condition: Condition;
  /** Offer the recipe's tools (arms of models that were trained without them do not). */
  readonly tools: boolean;
}

/**
 * A recipe as evaluation plays it: with the bounds that its `eval` lays over those of all stages, and
 * those of a benchmark's protocol between them.
 */
function evaluated(recipe: Recipe, protocol: Protocol | undefined): Recipe {
  const { image = {}, episode = {} } = recipe.eval;
  const isBare = protocol?.prompt.form === "bare";
  const wordless = { ...recipe.promptsNoTool, system: null, questionSuffix: "" };
  return {
    ...recipe,
    image: { ...recipe.image, ...present(protocol?.pixels ?? {}), ...present(image) },
    episode: { ...recipe.episode, ...present(episode) },
    ...(isBare ? { tools: {}, answerForm: "whole" as const, promptsNoTool: wordless } : {}),
  };
}

/** The model that judges, worked out, where a recipe names one. @throws as `planEngine` */
export async function planJudge(
  recipe: Recipe,
  evaluated: EnginePlan,
  signal: AbortSignal,
): Promise<EnginePlan | undefined> {
  const { judge } = recipe.eval;
  if (typeof judge === "string") return undefined;
  const needs = { purpose: "eval.judge", capabilities: [] };
  return planEngine(recipe, judge.engine, needs, { signal }, evaluated.folder);
}

/** Runs work with the judge of a recipe, if it has one; verdicts are kept in the run's folder. */
export async function withJudge<T>(
  { recipe, path }: Pick<StageOptions, "recipe" | "path">,
  plan: EnginePlan | undefined,
  work: (judge: ModelJudge | undefined) => Promise<T>,
): Promise<T> {
  const { judge } = recipe.eval;
  if (plan === undefined || typeof judge === "string") return work(undefined);
  return whileOpen(plan, (sampler) =>
    work(
      modelJudge({
        name: engineLabel(plan.engine),
        sampler,
        chat: plan.episode.chat,
        maxTokens: judge.maxTokens,
        folder: inside(path, "judgements"),
      }),
    ),
  );
}

/** Runs arms of one model over all tasks; finished ones are read back without opening the model. */
export async function evaluateArms(
  options: StageOptions,
  plan: EnginePlan,
  plans: readonly ArmPlan[],
  tasks: readonly TaskSet[],
  report: (task: string, arm: string, evaluation: Evaluation) => void,
  modelJudge?: ModelJudge,
): Promise<void> {
  const { recipe, path, signal, quiet } = options;
  const engine = await openPlanned(plan);
  try {
    for (const { arm, condition, tools: isOffered } of plans) {
      const control = isOffered ? conditionTable[condition].tool : none;
      for (const { task, records, benchmark: set } of tasks) {
        const protocol = set && protocolOf(set.benchmark, set.protocol);
        const played = evaluated(recipe, protocol);
        const episode = await episodeConfig(played, plan.folder, control);
        const progress = new Progress({
          label: `eval ${task} ${arm}`,
          total: records.length * recipe.eval.samples,
          unit: recipe.eval.samples === 1 ? "questions" : "episodes",
          quiet,
        });
        try {
          const evaluation = await runArm({
            folder: path,
            task,
            arm,
            sampler: engine,
            records,
            episode,
            config: recipe.eval,
            reward: recipe.rl.reward,
            condition,
            seed: recipe.seed,
            judge: protocol?.judge,
            modelJudge,
            rule: set?.protocol ?? ruleName(recipe.eval),
            signal,
            onProgress: (done, figures) => progress.update(done, figures),
          });
          report(task, arm, evaluation);
        } finally {
          progress.finish();
        }
      }
    }
  } finally {
    await engine.close();
  }
}

/**
 * Looks at the place of a run before anything is loaded: the run to go on with, or null for a new one.
 * @throws VigorlError("usage") where a run is there and is not to be resumed or overwritten, or was
 *   started with another recipe
 */
export async function checkRun({
  path,
  recipe,
  resume,
  overwrite,
}: Omit<StageOptions, "signal" | "quiet">): Promise<RunFolder | null> {
  if (!(await isRunFolder(path))) return null;
  if (!resume) {
    if (!overwrite) throw holdsRun(path);
    return null;
  }
  const run = await openRunFolder(path);
  const changes = recipeChanges(run.manifest, asJson(recipe));
  if (changes.length > 0) refuseRecipe(path, changes);
  return run;
}

/** What a run is made from, and the run to go on with, null for a new one. */
interface Inputs {
  readonly stopped: RunFolder | null;
  readonly dataHashes: Readonly<Record<string, string>>;
  /** How they differ from those that the run began with, where that was allowed. */
  readonly changes: readonly string[];
}

/**
 * Looks at everything that a run is made from, before weights are loaded.
 * @throws VigorlError("usage") as `checkRun`, and where a run to be resumed began with other inputs
 */
export async function checkInputs(
  options: Omit<StageOptions, "signal" | "quiet">,
  { folder: model, engine }: Pick<EnginePlan, "folder" | "engine">,
  tasks: readonly TaskSet[],
): Promise<Inputs> {
  const { path, recipe } = options;
  const stopped = await checkRun(options);
  const dataHashes = await inputHashes(recipe, { model, adapter: adapterFolder(engine) }, tasks);
  const changes = stopped === null ? [] : changesOf(stopped.manifest.dataHashes, dataHashes);
  if (changes.length > 0 && options.changedInputs !== true) throw changedInputs(path, changes);
  return { stopped, dataHashes, changes };
}

/** Opens a stage's run folder: a new one, or with `resume` the one that was stopped. */
export async function openRun(
  { path, recipe, overwrite, lock, command }: Omit<StageOptions, "signal" | "quiet">,
  verb: string,
  { engine }: Pick<EnginePlan, "engine">,
  { stopped, dataHashes, changes }: Inputs,
): Promise<{ run: RunFolder; resume: boolean }> {
  if (stopped !== null) {
    await stopped.removeUnfinished();
    let run = changes.length === 0 ? stopped : await stopped.withInputs(dataHashes, changes);
    const kept = recipeToKeep(run.manifest, asJson(recipe));
    if (!isDeepStrictEqual(run.manifest.recipe, kept)) run = await run.withRecipe(kept);
    await forgetWeights(run);
    return { run: writable(run, recipe, lock), resume: true };
  }
  const { name, seed } = recipe;
  const versions = await engineVersions(engine);
  const run = await createRunFolder(
    path,
    { verb, command, name, seed, recipe: asJson(recipe), engine, versions, dataHashes },
    { overwrite },
  );
  return { run: writable(run, recipe, lock), resume: false };
}

/** A run that logs to the recipe's sinks and notices when another takes its lock. */
function writable({ path, manifest }: RunFolder, { log }: Recipe, lock?: RunLock): RunFolder {
  const run = new RunFolder(path, manifest, lock);
  run.logTo(log);
  return run;
}

async function withProgress<T>(
  label: string,
  total: number,
  quiet: boolean,
  work: (onStep: (metrics: Metrics) => void) => Promise<T>,
): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await work((metrics) => {
      progress ??= new Progress({ label, total, done: metrics.step, quiet });
      progress.update(metrics.step, figuresOf(metrics));
    });
  } finally {
    progress?.finish();
  }
}

/** The figures of a step that a progress line has room for. */
function figuresOf(metrics: Metrics): Record<string, number> {
  const names = {
    reward: metrics.reward,
    accuracy: metrics.accuracy,
    "held out": metrics["validation/accuracy"],
    "tool uses": metrics.toolUsesPerEpisode,
    loss: metrics.reward === undefined ? metrics.loss : undefined,
    "tokens/s": metrics["tokensPerSecond/sample"] ?? metrics["tokensPerSecond/learn"],
  };
  return Object.fromEntries(
    Object.entries(names).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}

/** The weights that a run is for are those of its best validation, else the last. */
async function trained(
  run: RunFolder,
  result: LoopResult,
  start: number,
  notes: Staged["notes"],
): Promise<Trained> {
  const { step: steps, best, isStoppedEarly } = result;
  const { folder, weights } = best ?? result;
  await recordWeights(run, folder);
  const seconds = (performance.now() - start) / 1000;
  const found: Record<string, number> =
    best === null ? {} : { bestStep: best.step, bestAccuracy: best.accuracy };
  const kept = weights === folder ? {} : { weights };
  return { folder, ...kept, steps, seconds, isStoppedEarly, notes: { steps, ...notes, ...found } };
}

/** A value as it comes back from a JSON file. */
function asJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
