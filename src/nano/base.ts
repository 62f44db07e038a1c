/**
 * Trains the nano base checkpoint from random weights, in the three steps that work: the tower alone
 * on dense words, the language model on look-ups with the tower frozen, then everything at a small
 * rate in the full form. A run is a folder that can be stopped and resumed; its end is a model folder.
 */
import { rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { setImmediate } from "node:timers/promises";
import { z } from "zod";
import { parseConfig } from "../core/config.ts";
import { differencesBut, refuseRecipe } from "../core/differences.ts";
import { VigorlError } from "../core/errors.ts";
import { replaceFolderAtomic, writeFileAtomic } from "../core/files.ts";
import { inside } from "../core/inside.ts";
import { readJsonFile } from "../core/json-file.ts";
import { programName } from "../core/paths.ts";
import { Progress } from "../core/progress.ts";
import { createRunFolder, openRunFolder, type RunFolder } from "../core/run-folder.ts";
import { oneWriter } from "../core/run-lock.ts";
import { loadModelFolder, saveModelFolder } from "../model/folder.ts";
import { parseModelConfig } from "../model/families/table.ts";
import { initModel } from "../model/init.ts";
import type { VisionLanguageModel } from "../model/vision-language-model.ts";
import { newestCheckpoint } from "../train/checkpoint.ts";
import { resolveDevice, setNumThreads, torchFacts } from "../torch/device.ts";
import type { Device } from "../torch/dtype.ts";
import { openSafetensors } from "../torch/safetensors.ts";
import { writeSafetensors } from "../torch/safetensors-write.ts";
import type { Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { Tokenizer } from "../text/tokenizer.ts";
import { baseMayChange, baseRecipeSchema, type BaseRecipe } from "./base-recipe.ts";
import { openStage, stageNames, type StageName } from "./base-stages.ts";
import { learningCurves } from "./curves.ts";
import { nanoConfig, writeNanoFolder } from "./model-folder.ts";
import { buildTokenizer, tokenizerConfig } from "./tokenizer.ts";

export { baseRecipeSchema };

export interface TrainBaseOptions {
  readonly recipe: BaseRecipe;
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly quiet?: boolean;
  /** The command that asked for it. */
  readonly command?: string | undefined;
  readonly signal?: AbortSignal;
  /** Called after every step with its number over all stages. */
  readonly onStep?: (step: number) => void;
  /** Folder of the run. */
  readonly path: string;
}

export interface TrainBaseResult {
  /** The finished model folder, bf16. */
  readonly folder: string;
  /** Steps of all stages, those of earlier tries too. */
  readonly steps: number;
  /** Held-out figures at the end of each step, such as `tower/digit`. */
  readonly figures: Readonly<Record<string, number>>;
}

/** @throws VigorlError("interrupted") once `signal` aborts, the state saved */
export const trainBase = oneWriter(train);

async function train(options: TrainBaseOptions): Promise<TrainBaseResult> {
  const { recipe, resume = false, quiet = false, signal } = options;
  if (stageNames.every((name) => recipe[name].steps === 0))
    throw new VigorlError("usage", "base: every stage has 0 steps", {
      hint: "give at least one of them steps, as recipes/nano-base.yaml does",
    });
  setNumThreads(recipe.threads);
  const device = resolveDevice(recipe.device);
  const { path } = options;
  const run = await openRun(path, options);
  const newest = resume ? await newestCheckpoint(run.checkpointsPath) : undefined;
  const saved = newest === undefined ? null : await readState(newest);
  const start = randomModel(recipe.seed, device);
  const { tokenizer } = start;
  const model =
    newest === undefined ? start.model() : await loadModelFolder(join(newest, "model"), { device });
  await run.rewind(saved?.step ?? 0);

  let figures: Record<string, number> = { ...saved?.figures };
  let step = saved?.step ?? 0;
  const begin = saved === null ? 0 : stageNames.indexOf(saved.stage);
  for (const name of stageNames.slice(begin)) {
    const total = recipe[name].steps;
    const first = saved?.stage === name ? saved.stageStep : 0;
    if (first >= total) continue;
    const stage = await openStage(name, { model, tokenizer, recipe, firstStep: first, signal });
    if (first > 0 && newest !== undefined) loadTrainer(newest, stage);
    const progress = new Progress({ label: name, total, done: first, unit: "steps", quiet });
    let losses: number[] = first > 0 ? [...(saved?.losses ?? [])] : [];
    try {
      for (let at = first; at < total; at++) {
        losses.push(await stage.step(at));
        // Batches drawn ahead come without waiting, and a signal would never be heard.
        await setImmediate();
        step++;
        options.onStep?.(step);
        const done = at + 1;
        const due = (every: number) => done % every === 0 || done === total;
        if (due(recipe.logEvery)) {
          const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
          if (!Number.isFinite(loss))
            throw new VigorlError("numerics", `base: the loss of ${name} step ${done} is ${loss}`);
          losses = [];
          const held = due(recipe.evalEvery) ? stage.evaluate() : {};
          for (const [key, value] of Object.entries(held)) figures[`${name}/${key}`] = value;
          await run.appendMetrics({ step, stage: name, stageStep: done, loss, ...held });
          if (due(recipe.evalEvery)) progress.note(`${name} ${done}: ${JSON.stringify(held)}`);
        }
        progress.update(done, { loss: losses.at(-1) ?? 0 });
        if (due(recipe.saveEvery) || signal?.aborted) {
          const state = {
            version: 1 as const,
            stage: name,
            stageStep: done,
            step,
            figures,
            losses,
          };
          await saveState(run, model, stage.tensors(), state);
        }
        if (signal?.aborted) {
          throw new VigorlError("interrupted", `base: stopped after step ${step}`, {
            hint: `go on with: ${programName} base --resume`,
          });
        }
      }
    } finally {
      progress.finish();
      await stage.close();
    }
  }
  const folder = run.file("model");
  await saveModel(model, folder, "bfloat16");
  const curves = await learningCurves(run.file("metrics.jsonl"));
  await writeFileAtomic(run.file("curves.svg"), curves);
  await writeFileAtomic(run.file("report.json"), `${JSON.stringify({ figures }, null, 2)}\n`);
  model.dispose();
  return { folder, steps: step, figures };
}

/** What training starts from: the tokenizer, and a model of random weights. */
export function randomModel(seed: number, device: Device) {
  const { json, idOf } = buildTokenizer();
  return {
    tokenizer: new Tokenizer(json, tokenizerConfig(), "nano"),
    model: () =>
      initModel(parseModelConfig(nanoConfig(idOf), "nano config.json"), { seed, device }),
  };
}

const stateSchema = z.strictObject({
  version: z.literal(1),
  stage: z.enum(stageNames),
  stageStep: z.int(),
  /** Over all stages. */
  step: z.int(),
  figures: z.record(z.string(), z.number()),
  /** Losses of the steps since the last line of metrics. */
  losses: z.array(z.number()).default([]),
});
type State = z.infer<typeof stateSchema>;

async function openRun(path: string, options: TrainBaseOptions): Promise<RunFolder> {
  const { recipe, resume, overwrite = false } = options;
  if (resume) {
    const run = await openRunFolder(path);
    const { verb, recipe: kept } = run.manifest;
    if (verb !== "base")
      throw new VigorlError("usage", `${path}: is a run of ${verb}, not of base`);
    const before = parseConfig(JSON.stringify(kept), run.file("manifest.json"), baseRecipeSchema);
    const changes = differencesBut(baseMayChange, before, recipe);
    if (changes.length > 0) refuseRecipe(path, changes);
    return isDeepStrictEqual(kept, recipe) ? run : run.withRecipe(recipe);
  }
  const description = {
    verb: "base",
    command: options.command,
    name: recipe.name,
    seed: recipe.seed,
    recipe,
    versions: { libtorch: torchFacts().version },
  };
  return createRunFolder(path, description, { overwrite });
}

async function readState(folder: string): Promise<State & { stage: StageName }> {
  return readJsonFile(
    join(folder, "state.json"),
    stateSchema,
    `remove ${folder}; --resume goes on from the checkpoint before it, or from the start`,
  );
}

/** Writes checkpoints/step-N and removes the one before it. */
async function saveState(
  run: RunFolder,
  model: VisionLanguageModel,
  tensors: ReadonlyMap<string, Tensor>,
  state: State,
): Promise<void> {
  const before = await newestCheckpoint(run.checkpointsPath);
  const folder = inside(run.checkpointsPath, `step-${state.step}`);
  await replaceFolderAtomic(folder, async (beside) => {
    await saveModel(model, join(beside, "model"), "float32");
    writeSafetensors(join(beside, "trainer.safetensors"), tensors);
    await writeFileAtomic(join(beside, "state.json"), `${JSON.stringify(state, null, 2)}\n`);
  });
  if (before !== undefined && before !== folder) await rm(before, { recursive: true });
}

async function saveModel(
  model: VisionLanguageModel,
  folder: string,
  dtype: "float32" | "bfloat16",
): Promise<void> {
  const files = inside(dirname(folder), `${basename(folder)}.files`);
  await writeNanoFolder(files);
  await saveModelFolder(model, folder, { dtype, filesFrom: files });
  await rm(files, { recursive: true });
}

/** Puts optimizer state and heads back. */
function loadTrainer(
  folder: string,
  stage: { load(tensors: ReadonlyMap<string, Tensor>): void },
): void {
  const file = openSafetensors(join(folder, "trainer.safetensors"));
  noGrad(() =>
    scope(() => {
      const tensors = file.names.map((name) => [name, file.read(name)] as const);
      stage.load(new Map(tensors));
    }),
  );
  file.close();
}
