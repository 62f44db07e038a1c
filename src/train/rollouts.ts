/**
 * Episodes for training: P prompts times G members, all in flight at once up to a bound, none
 * waiting for another. Seeds belong to (step, prompt, member), so that the bound changes nothing.
 *
 * Axes: P prompts, G members of a group.
 */
import { mapBounded } from "../core/bounded.ts";
import { deriveSeed, stream } from "../core/random.ts";
import type { Sampler } from "../engine/types.ts";
import { countDistinct } from "../text/points.ts";
import { runEpisode } from "../task/episode.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { TaskRecord } from "../task/record.ts";
import { openReward } from "../task/own-reward.ts";
import type { Reward, RewardConfig } from "../task/reward.ts";
import { cropOverlap } from "../task/pictures.ts";
import { openScene } from "../task/turn.ts";
import { countUses, type StopReason, type Trajectory } from "../task/trajectory.ts";
import { meanOf, type Metrics } from "./metrics.ts";

export interface ScoredEpisode {
  readonly record: TaskRecord;
  readonly member: number;
  readonly episode: Trajectory;
  readonly reward: Reward;
}

export interface RolloutOptions {
  readonly sampler: Sampler;
  readonly episode: EpisodeConfig;
  readonly reward: RewardConfig;
  readonly groupSize: number;
  readonly concurrency: number;
  readonly seed: number;
  /** Keys the seeds of this batch of episodes: a verb and a step. */
  readonly key: readonly (string | number)[];
  readonly signal?: AbortSignal;
  readonly onEpisode?: (done: number) => void;
}

/** Runs and scores `groupSize` episodes for each record. Throws when aborted, and what an own reward throws. */
export async function sampleGroups(
  records_P: readonly TaskRecord[],
  options: RolloutOptions,
): Promise<ScoredEpisode[][]> {
  const { sampler, episode: config, groupSize, seed, key, signal } = options;
  const score = await openReward(options.reward);
  let done = 0;
  const asked = records_P.flatMap((record, p) =>
    Array.from({ length: groupSize }, (_, member) => ({ record, p, member })),
  );
  const played = await mapBounded(asked, options.concurrency, signal, async (one, halt) => {
    const { record, p, member } = one;
    const episodeSeed = deriveSeed(seed, ...key, p, member);
    const id = `${record.id}#${member}`;
    const episode = await runEpisode(sampler, record, config, episodeSeed, { id, signal: halt });
    options.onEpisode?.(++done);
    return { record, member, episode };
  });
  const rewards = await score(played, signal);
  const scored = played.map((one, i) => ({ ...one, reward: rewards[i] }));
  return records_P.map((_, p) => scored.slice(p * groupSize, (p + 1) * groupSize));
}

/** Reasons that are a limit and not the model's own end. */
const cutOff: ReadonlySet<StopReason> = new Set(["turnTokenLimit", "tokenLimit", "contextLimit"]);

/**
 * `cutOff`: ended by a limit and not by the model. `failed`: by an error, or without a word because its
 * prompt fills the context; never learned from.
 */
export function statusOf({
  error,
  numTokens,
  stopReason,
}: Trajectory): "complete" | "cutOff" | "failed" {
  if (error !== null || numTokens.model === 0) return "failed";
  return cutOff.has(stopReason) ? "cutOff" : "complete";
}

/** Means over episodes, under the names of the metrics table. */
export function episodeMetrics(
  scored: readonly ScoredEpisode[],
  minDistancePx: number,
): Omit<Metrics, "step"> {
  const each = (of: (one: ScoredEpisode) => number): number => meanOf(scored.map(of));
  const terms = [...new Set(scored.flatMap(({ reward }) => Object.keys(reward.terms)))];
  return {
    reward: each(({ reward }) => reward.total),
    ...Object.fromEntries(
      terms.map((term) => [`reward/${term}`, each(({ reward }) => reward.terms[term] ?? 0)]),
    ),
    accuracy: each(({ reward }) => reward.accuracy),
    toolUsesPerEpisode: each(({ episode }) => countUses(episode)),
    toolShare: each(({ episode }) => (countUses(episode) > 0 ? 1 : 0)),
    cropOverlap: meanOf(scored.flatMap(({ episode }) => cropOverlap(episode.pictures) ?? [])),
    distinctPoints: each(({ episode }) => countDistinct(episode.points, minDistancePx)),
    invalidCalls: each(({ episode }) => episode.toolUses.length - countUses(episode)),
    episodeTokens: each(({ episode }) => episode.numTokens.model),
    episodeTurns: each(({ episode }) => episode.turns.length),
    overlongShare: each(({ episode }) => (cutOff.has(episode.stopReason) ? 1 : 0)),
    errorShare: each(({ episode }) => (episode.error === null ? 0 : 1)),
    ...taskMetrics(scored),
  };
}

/** Reward and accuracy of each task, where there are several. */
function taskMetrics(scored: readonly ScoredEpisode[]): Omit<Metrics, "step"> {
  const tasks = [...new Set(scored.map(({ episode }) => episode.task))];
  if (tasks.length < 2) return {};
  const rows = tasks.flatMap((task) => {
    const rewards = scored.filter(({ episode }) => episode.task === task);
    return [
      [`task/${task}/reward`, meanOf(rewards.map(({ reward }) => reward.total))],
      [`task/${task}/accuracy`, meanOf(rewards.map(({ reward }) => reward.accuracy))],
    ];
  });
  return Object.fromEntries(rows) as Record<`task/${string}`, number>;
}

/**
 * The records of each step: every epoch is a shuffle of its own. The scenes of a step (images in
 * memory, as the model sees them) are opened once per prompt, ahead of time where `prefetch` is
 * called, and held until the next step is taken.
 */
export class PromptSource {
  private readonly records: readonly TaskRecord[];
  private readonly episode: EpisodeConfig;
  private readonly perStep: number;
  private readonly seed: number;
  private readonly opened = new Map<number, Promise<unknown>>();
  private order: { readonly epoch: number; readonly records: readonly TaskRecord[] } | undefined;

  constructor(
    records: readonly TaskRecord[],
    episode: EpisodeConfig,
    perStep: number,
    seed: number,
  ) {
    this.records = records;
    this.episode = episode;
    this.perStep = perStep;
    this.seed = seed;
  }

  /** Epochs that are behind step `step` (from 1), fractional. */
  epochOf(step: number): number {
    return (step * this.perStep) / this.records.length;
  }

  /** Records of step `step` (from 1), their scenes open. */
  async take(step: number): Promise<TaskRecord[]> {
    const records = this.prefetch(step);
    await this.opened.get(step);
    this.opened.delete(step - 1);
    return records;
  }

  /** Starts opening a step's scenes. A record whose images are broken fails in its episodes. */
  prefetch(step: number): TaskRecord[] {
    const first = (step - 1) * this.perStep;
    const records = Array.from({ length: this.perStep }, (_, i) => this.recordAt(first + i));
    if (!this.opened.has(step)) {
      const scenes = records.map((record) => openScene(record, this.episode));
      this.opened.set(step, Promise.allSettled(scenes));
    }
    return records;
  }

  private recordAt(index: number): TaskRecord {
    const epoch = Math.floor(index / this.records.length);
    if (this.order?.epoch !== epoch) {
      const records = stream(this.seed, "prompts", epoch).shuffle(this.records);
      this.order = { epoch, records };
    }
    return this.order.records[index % this.records.length];
  }
}

/** Optimizer steps that the oldest of the sampling weights had seen; -1 where unknown. */
export function oldestVersion({ turns }: Trajectory): number {
  return turns.length === 0 ? -1 : Math.min(...turns.map((turn) => turn.weightsVersion));
}
