/**
 * What episodes are worth, by whoever a recipe names: the terms of its profile, a module of the user's
 * own (`reward.module`), or a server (`reward.url`) that is sent batches of episodes.
 */
import { VigorlError } from "../core/errors.ts";
import { loadOwn } from "../core/own-module.ts";
import type { TaskRecord } from "./record.ts";
import { rewardByUrl } from "./reward-url.ts";
import { scoreEpisode, type Reward, type RewardConfig } from "./reward.ts";
import type { Trajectory } from "./trajectory.ts";

/** An episode with its question. */
export interface PlayedEpisode {
  readonly episode: Trajectory;
  readonly record: TaskRecord;
}

/** What an own reward gives: the whole, or its terms by name, which are summed. */
export type OwnReward = number | Readonly<Record<string, number>>;

/**
 * The default export of `reward.module`. `usual` is what the recipe's profile gives, its `accuracy` the
 * judge's verdict; accuracy stays the judge's whatever this returns.
 */
export type RewardFunction = (
  episode: Trajectory,
  record: TaskRecord,
  usual: Reward,
) => OwnReward | Promise<OwnReward>;

/** Scores episodes, in their order. */
export type ScoreEpisodes = (
  played: readonly PlayedEpisode[],
  signal?: AbortSignal,
) => Promise<Reward[]>;

/** Opens what a recipe names. @throws VigorlError("input") for a module that cannot be loaded */
export async function openReward(config: RewardConfig): Promise<ScoreEpisodes> {
  const { module: code, url } = config;
  const usualOf = ({ episode, record }: PlayedEpisode) => scoreEpisode(episode, record, config);
  if (code === undefined && url === undefined)
    return (played) => Promise.resolve(played.map(usualOf));
  const ask = url === undefined ? await byModule(code!) : rewardByUrl(url, config.server);
  return async (played, signal) => {
    const usual = played.map(usualOf);
    // An episode that failed is never learned from, and there is nothing to score.
    const sound = played.flatMap((one, i) =>
      one.episode.error === null ? [{ ...one, usual: usual[i] }] : [],
    );
    const rewards = sound.length === 0 ? [] : await ask(sound, signal);
    let next = 0;
    return played.map((one, i) => {
      if (one.episode.error !== null) return { total: 0, accuracy: 0, terms: {} };
      return { ...totalOf(rewards[next++], one), accuracy: usual[i].accuracy };
    });
  };
}

/** Scores a batch of sound episodes. */
export type AskRewards = (
  played: readonly (PlayedEpisode & { readonly usual: Reward })[],
  signal?: AbortSignal,
) => Promise<readonly OwnReward[]>;

async function byModule(code: string | RewardFunction): Promise<AskRewards> {
  const reward = await loadOwn("rl.reward.module", code);
  if (typeof reward !== "function")
    throw new VigorlError("input", "rl.reward.module: its default export is no function");
  return (played) =>
    Promise.all(played.map(async ({ episode, record, usual }) => reward(episode, record, usual)));
}

/** @throws VigorlError("input") naming the term and the record where a worth is no finite number */
function totalOf(own: OwnReward, { record }: PlayedEpisode): Pick<Reward, "total" | "terms"> {
  const terms = typeof own === "number" ? { own } : own;
  let total = 0;
  for (const [name, worth] of Object.entries(terms ?? { own: undefined })) {
    if (typeof worth === "number" && Number.isFinite(worth) && termName.test(name)) {
      total += worth;
      continue;
    }
    throw new VigorlError(
      "input",
      `rl.reward: gave ${JSON.stringify(name)}: ${String(worth)} for record ${record.id}`,
      { hint: "give a finite number, or such numbers under names of letters, digits and dashes" },
    );
  }
  return { total, terms };
}

const termName = /^[\w-]{1,64}$/;
