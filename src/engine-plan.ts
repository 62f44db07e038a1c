/**
 * An engine that a stage is going to open: what is needed of it, the format of its prompts, and its
 * section with every `auto` worked out. Everything here is cheap, so that mistakes are told before
 * weights are loaded or a server is asked to work.
 */
import type { Capability, Needs } from "./engine/capabilities.ts";
import { learningOf } from "./engine-memory.ts";
import type { Learning, Memory, OpenOptions, ResolveOptions } from "./engine/kind.ts";
import {
  memoryOf,
  withModelFolders,
  openLearner,
  openSampler,
  processorFolder,
  requireOfKind,
  resolveEngine,
  type EngineConfig,
} from "./engine/open.ts";
import { scoredTemperature, type Learner, type Sampler } from "./engine/types.ts";
import type { Recipe } from "./recipe.ts";
import { loadEpisodeConfig, type EpisodeConfig } from "./task/episode-config.ts";
import type { ToolControl } from "./task/tools/controls.ts";

export interface EnginePlan {
  /** Resolved. */
  readonly engine: EngineConfig;
  readonly needs: Needs;
  /** Tokenizer, chat template and preprocessor; of a local engine the model folder. */
  readonly folder: string;
  readonly episode: EpisodeConfig;
  readonly options: OpenOptions;
  /** What it will hold; absent where that is not this machine's memory. */
  readonly memory: Memory | undefined;
}

/** What the verbs need of their engine, to be asked before questions are read. */
export function needsOf(verb: "rl" | "sft" | "sft.collect" | "sample", recipe: Recipe): Needs {
  const capabilities: Record<typeof verb, readonly Capability[]> = {
    sample: ["images"],
    "sft.collect": ["images", "tokenExact"],
    sft: ["images", "learn"],
    rl: ["images", "learn", "tokenExact", ...rlReads(recipe.rl)],
  };
  return { purpose: verb === "sample" ? "this" : verb, capabilities: capabilities[verb] };
}

function rlReads({ klCoef, parity, temperature }: Recipe["rl"]): Capability[] {
  const reads: Capability[] = ["promptLogprobs"];
  if (scoredTemperature(temperature) !== 1) reads.push("temperature");
  if (klCoef > 0) reads.push("reference");
  if (parity.enabled && parity.minBlindGap > 0) reads.push("blind");
  return reads;
}

/**
 * Checks an engine and works its section out.
 * @param fallback folder of the prompts' format where the engine names none
 * @throws VigorlError naming what is missing: a capability, a file, memory, the server
 */
export async function planEngine(
  recipe: Recipe,
  named: EngineConfig,
  needs: Needs,
  options: ResolveOptions,
  fallback?: string,
): Promise<EnginePlan> {
  requireOfKind(named, needs);
  const engine = await withModelFolders(named);
  const folder = processorFolder(engine, fallback);
  const episode = await episodeConfig(recipe, folder);
  const { lora, seed } = recipe;
  const learning = learningFor(recipe, needs, options);
  const adapts = learning !== undefined && lora !== null;
  const how = { ...options, learning, ...(adapts ? { lora: { ...lora, seed } } : {}) };
  const resolved = await resolveEngine(engine, how);
  const open = { ...how, processorFolder: folder };
  const memory = await memoryOf(resolved, learning);
  return { engine: resolved, needs, folder, episode, options: open, memory };
}

/** What an engine will learn for those who need it to. */
function learningFor(
  recipe: Recipe,
  { purpose }: Needs,
  { trainable }: ResolveOptions,
): Learning | undefined {
  if (trainable === undefined) return undefined;
  return { ...learningOf(recipe, purpose === "sft" ? "sft" : "rl"), trainable };
}

export function openPlanned({ engine, needs, options }: EnginePlan): Promise<Sampler> {
  return openSampler(engine, needs, options);
}

export function openPlannedLearner({ engine, needs, options }: EnginePlan): Promise<Learner> {
  return openLearner(engine, needs, options);
}

/** Runs work with an engine that is closed however it ends. */
export async function whileOpen<T>(
  plan: EnginePlan,
  work: (sampler: Sampler) => Promise<T>,
): Promise<T> {
  const sampler = await openPlanned(plan);
  try {
    return await work(sampler);
  } finally {
    await sampler.close();
  }
}

/** How episodes are played under a recipe, with prompts in a folder's format; `control` changes the tools. */
export async function episodeConfig(
  recipe: Recipe,
  folder: string,
  control: ToolControl | null = null,
): Promise<EpisodeConfig> {
  const { temperature, topP, topK } = recipe.eval;
  return loadEpisodeConfig(folder, { ...recipe, sampling: { temperature, topP, topK } }, control);
}
