/**
 * Examples for a warm start by rejection sampling: the model answers records, and its correct
 * episodes are kept as they were sampled, token for token; different ones per record, evenly over
 * categories. No teacher is asked.
 */
import { stream } from "../core/random.ts";
import { VigorlError } from "../core/errors.ts";
import { roundRobinBy } from "../core/round-robin.ts";
import type { Sampler } from "../engine/types.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { TaskRecord } from "../task/record.ts";
import type { RewardConfig } from "../task/reward.ts";
import { countUses, type Transcript } from "../task/trajectory.ts";
import { describeReplies } from "./idle-watch.ts";
import { sampleGroups, type ScoredEpisode } from "./rollouts.ts";
import type { SftConfig } from "./sft-config.ts";

export interface CollectOptions {
  readonly sampler: Sampler;
  readonly records: readonly TaskRecord[];
  readonly episode: EpisodeConfig;
  readonly reward: RewardConfig;
  readonly config: SftConfig["collect"];
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Collected {
  readonly examples: Transcript[];
  readonly numEpisodes: number;
  /** Correct, well formed and with enough tool uses. */
  readonly numCorrect: number;
  /** Of those, different from the others of their record. */
  readonly numDistinct: number;
  /** Written by the model, in all episodes. */
  readonly numTokens: number;
}

/**
 * Runs the episodes and chooses. The same seed and weights choose the same examples.
 * Throws VigorlError("input") where nothing was correct, and the signal's reason when aborted.
 */
export async function collectExamples(options: CollectOptions): Promise<Collected> {
  const { config, seed, sampler, reward, signal } = options;
  const { temperature, samplesPerPrompt, concurrency } = config;
  const sampling = { temperature, topP: 1, topK: 0, endOfTurn: true };
  const episode = { ...options.episode, sampling };
  const records = stream(seed, "collect").shuffle(options.records).slice(0, config.prompts);
  const total = records.length * samplesPerPrompt;
  const kept: ScoredEpisode[] = [];
  let last: ScoredEpisode[] = [];
  let numCorrect = 0;
  let numTokens = 0;
  for (let start = 0; start < records.length; start += promptsAtOnce) {
    const part = records.slice(start, start + promptsAtOnce);
    const groups = await sampleGroups(part, {
      sampler,
      episode,
      reward,
      groupSize: samplesPerPrompt,
      concurrency,
      seed,
      key: ["collect", start],
      ...(signal === undefined ? {} : { signal }),
      onEpisode: (done) => options.onProgress?.(start * samplesPerPrompt + done, total),
    });
    last = groups.flat();
    for (const { episode: one } of last) numTokens += one.numTokens.model;
    for (const group of groups) {
      const correct = group.filter((one) => isGood(one, config));
      numCorrect += correct.length;
      kept.push(...distinct(correct).slice(0, config.maxPerPrompt));
    }
  }
  if (kept.length === 0) {
    const problem = `sft.collect: none of ${total} episodes was right and in form`;
    throw new VigorlError("input", `${problem}\n${describeReplies(last)}`, {
      hint: "ask easier records, sample more, or lower sft.collect.minAccuracy or minToolUses",
    });
  }
  const chosen = config.balance ? roundRobinBy(kept, ({ record }) => record.category ?? "") : kept;
  return {
    examples: chosen.slice(0, config.maxExamples).map(({ episode: one }) => one),
    numEpisodes: total,
    numCorrect,
    numDistinct: kept.length,
    numTokens,
  };
}

/** Episodes of so many prompts are scored and sifted at once. */
const promptsAtOnce = 64;

function isGood({ episode, reward }: ScoredEpisode, config: SftConfig["collect"]): boolean {
  return (
    episode.error === null &&
    episode.wellFormed &&
    countUses(episode) >= config.minToolUses &&
    reward.accuracy >= config.minAccuracy
  );
}

/** The first of each different sequence of model tokens. */
function distinct(scored: readonly ScoredEpisode[]): ScoredEpisode[] {
  const seen = new Set<string>();
  return scored.filter(({ episode }) => {
    const words = episode.turns.map((turn) => turn.text).join("\u0000");
    return !seen.has(words) && seen.add(words);
  });
}
