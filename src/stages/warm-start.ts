/**
 * Where the examples of a warm start come from: the model's own right episodes (rejection sampling),
 * the chains that a tree search gave, or the data's true answers. They are written into the run's
 * folder, so that a run that was stopped reads them back.
 */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { stream } from "../core/random.ts";
import { mapBounded } from "../core/bounded.ts";
import { VigorlError } from "../core/errors.ts";
import { writeFileAtomic } from "../core/files.ts";
import { readJsonFile } from "../core/json-file.ts";
import { readJsonlAll } from "../core/jsonl.ts";
import { findPath, programName } from "../core/paths.ts";
import { Progress } from "../core/progress.ts";
import type { RunFolder } from "../core/run-folder.ts";
import { roundRobinBy } from "../core/round-robin.ts";
import type { Sampler } from "../engine/types.ts";
import type { Recipe, TaskSet } from "../recipe.ts";
import { chainLineSchema } from "../search/linearize.ts";
import { chainExample } from "../search/render-chain.ts";
import { present, type EpisodeConfig } from "../task/episode-config.ts";
import type { Transcript } from "../task/trajectory.ts";
import { answerExamples } from "../train/answer-examples.ts";
import { collectExamples } from "../train/collect.ts";
import { readExamples, writeExamples } from "../train/examples.ts";
import { withLineBreaks } from "../train/line-breaks.ts";

/** Of a stage, what examples depend on and how they are made. */
export interface WarmStartOptions {
  readonly recipe: Recipe;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
}

/** Chains of a search. */
export interface ChainSource {
  /** Run folder of a search that was linearized, or its chains.jsonl. */
  readonly from: string;
  readonly maxExamples: number | null;
}

const countsSchema = z.record(z.string(), z.number());

/** Examples, and how many there were of what: `examples`, and `chains` or `episodes`, `correct`, … */
export interface WarmStart {
  readonly examples: readonly Transcript[];
  readonly counts: Readonly<Record<string, number>>;
}

/**
 * Makes the examples, or reads them where an earlier try of the run has made them.
 * @param withSampler runs work with the engine that plays the episodes; not called where none are played
 */
export async function warmStartExamples(
  options: WarmStartOptions,
  run: RunFolder,
  withSampler: (work: (sampler: Sampler) => Promise<WarmStart>) => Promise<WarmStart>,
  episode: EpisodeConfig,
  tasks: readonly TaskSet[],
  chains: ChainSource | undefined,
): Promise<WarmStart> {
  const file = run.file("examples.jsonl");
  const countsFile = run.file("collected.json");
  if (existsSync(countsFile)) {
    const hint = `remove ${countsFile}; --resume makes the examples again`;
    const counts = await readJsonFile(countsFile, countsSchema, hint);
    return { examples: await readExamples(file, episode.preprocessor), counts };
  }
  const made =
    chains === undefined
      ? options.recipe.sft.from === "answers"
        ? await fromAnswers(options, episode, tasks)
        : await withSampler((sampler) => fromEpisodes(options, sampler, episode, tasks))
      : await fromChains(chains.from, chains.maxExamples, options, episode, tasks);
  const examples = options.recipe.sft.trainLineBreak
    ? made.examples.map((example) => withLineBreaks(example, episode.chat))
    : made.examples;
  await writeExamples(file, examples);
  await writeFileAtomic(countsFile, `${JSON.stringify(made.counts)}\n`);
  return { ...made, examples };
}

async function fromEpisodes(
  { recipe, signal, quiet }: WarmStartOptions,
  sampler: Sampler,
  episode: EpisodeConfig,
  tasks: readonly TaskSet[],
): Promise<WarmStart> {
  const records = tasks.flatMap((set) => [...set.records]);
  const { prompts, samplesPerPrompt } = recipe.sft.collect;
  const total = Math.min(prompts, records.length) * samplesPerPrompt;
  const progress = new Progress({ label: "collect", total, unit: "episodes", quiet });
  const { examples, numEpisodes, numCorrect, numDistinct, numTokens } = await collectExamples({
    sampler,
    records,
    episode,
    reward: recipe.rl.reward,
    config: recipe.sft.collect,
    seed: recipe.seed,
    signal,
    onProgress: (done) => progress.update(done),
  }).finally(() => progress.finish());
  const counts = {
    examples: examples.length,
    episodes: numEpisodes,
    correct: numCorrect,
    distinct: numDistinct,
    tokens: numTokens,
  };
  return { examples, counts };
}

async function fromAnswers(
  { recipe, signal }: WarmStartOptions,
  episode: EpisodeConfig,
  tasks: readonly TaskSet[],
): Promise<WarmStart> {
  const records = tasks.flatMap((set) => [...set.records]);
  const shuffled = stream(recipe.seed, "answers").shuffle(records);
  const { answers } = recipe.sft;
  const chosen = shuffled.slice(0, answers.maxExamples ?? shuffled.length);
  const prompts =
    episode.tools.length > 0
      ? recipe.prompts
      : { ...recipe.prompts, ...present(recipe.promptsNoTool) };
  const isDirect = prompts.style === "direct";
  const { examples, forms } = await answerExamples(chosen, episode, answers, isDirect, signal);
  return { examples, counts: { examples: examples.length, records: records.length, ...forms } };
}

/** The file that a source of chains means. @throws VigorlError("missing") */
export async function chainsFile(from: string): Promise<string> {
  const path = findPath(from);
  const isFolder = await stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
  const file = isFolder ? join(path, "chains.jsonl") : path;
  if (existsSync(file)) return file;
  throw new VigorlError("missing", `${file}: no chains there`, {
    hint: `make them with ${programName} search and ${programName} linearize`,
  });
}

/**
 * @throws VigorlError("input") where there are no chains, a chain's record is not among the recipe's
 *   questions, or its crops are not those that its teacher saw
 */
async function fromChains(
  path: string,
  maxExamples: number | null,
  { recipe, signal }: WarmStartOptions,
  episode: EpisodeConfig,
  tasks: readonly TaskSet[],
): Promise<WarmStart> {
  const file = await chainsFile(path);
  const chains = await readJsonlAll(file, chainLineSchema);
  if (chains.length === 0) {
    throw new VigorlError("input", `${file}: holds no chains`, {
      hint: "search more questions, or loosen the rules of linearize",
    });
  }
  const records = new Map(
    tasks.flatMap((set) => [...set.records]).map((record) => [record.id, record]),
  );
  const shuffled = stream(recipe.seed, "chains").shuffle(chains);
  const chosen = roundRobinBy(shuffled, ({ category }) => category ?? "").slice(
    0,
    maxExamples ?? chains.length,
  );
  const { trainDetours } = recipe.sft;
  const examples = await mapBounded(chosen, 4, signal, async (chain) => {
    const record = records.get(chain.recordId);
    if (record !== undefined) return chainExample(chain, record, episode, { trainDetours });
    throw new VigorlError("input", `${file}: no record has the id ${chain.recordId}`, {
      hint: "give under data.train what the search ran on",
    });
  });
  const backtracks = chosen.filter(({ kind }) => kind === "backtrack").length;
  return { examples, counts: { examples: examples.length, chains: chains.length, backtracks } };
}
