/**
 * What search adds to sampling: the same questions asked in plain episodes, and how many of them are
 * solved by one, by three, and by as many as the tree's tokens pay for. "Solved" means that any answer
 * is right, judged with the truth at hand, as in the paper's table (A5).
 */
import { forEachBounded } from "../core/bounded.ts";
import { VigorlError } from "../core/errors.ts";
import { deriveSeed } from "../core/random.ts";
import { wilsonInterval } from "../core/statistics.ts";
import type { Sampler } from "../engine/types.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { runEpisode } from "../task/episode.ts";
import { judge } from "../task/judge.ts";
import type { TaskRecord } from "../task/record.ts";
import { rulesOf, type SearchConfig } from "./search-config.ts";
import { correctReward, type TreeLine } from "./tree-line.ts";

/** Questions solved, their share, and its 95 % Wilson interval. */
export interface Share {
  readonly solved: number;
  readonly share: number;
  readonly low: number;
  readonly high: number;
}

export interface Comparison {
  readonly questions: number;
  readonly one: Share;
  readonly three: Share;
  /** Samples until the tokens that the tree's model wrote are used up; the last may go over. */
  readonly equalTokens: Share;
  readonly search: Share;
  /** Tokens of the mean tree. */
  readonly tokensPerTree: number;
}

export interface CompareOptions {
  readonly records: ReadonlyMap<string, TaskRecord>;
  readonly trees: Iterable<TreeLine> | AsyncIterable<TreeLine>;
  readonly sampler: Sampler;
  readonly episode: EpisodeConfig;
  readonly config: SearchConfig;
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number) => void;
}

/**
 * Samples every question that has a tree. The same seed and trees give the same comparison.
 * @throws VigorlError("io") where the sampler fails, "input" without a tree, or the signal's reason.
 */
export async function compareWithSamples(options: CompareOptions): Promise<Comparison> {
  const { config, episode, records } = options;
  const { steps, temperature, topP, topK } = rulesOf(config, episode);
  const tools = steps === "turn" ? episode.tools : [];
  const asked: Asked = {
    ...options,
    episode: { ...episode, tools, sampling: { temperature, topP, topK } },
  };
  const solved = { one: 0, three: 0, equalTokens: 0, search: 0 };
  let questions = 0;
  let tokens = 0;
  const compare = async ({ recordId, numCorrect, numTokens }: TreeLine, signal: AbortSignal) => {
    const record = records.get(recordId);
    if (record === undefined) return;
    const budget = numTokens.model;
    const found = await sampleUntilSolved({ ...asked, signal }, record, budget);
    for (const key of ["one", "three", "equalTokens"] as const) solved[key] += Number(found[key]);
    solved.search += Number(numCorrect > 0);
    tokens += budget;
    questions++;
    options.onProgress?.(questions);
  };
  await forEachBounded(options.trees, config.run.trees, options.signal, compare);
  if (questions === 0) {
    throw new VigorlError("input", "compare: none of the questions has a tree", {
      hint: "search first; what failed stands in failures.jsonl",
    });
  }
  const share = (count: number): Share => {
    const [low, high] = wilsonInterval(count, questions);
    return { solved: count, share: count / questions, low, high };
  };
  return {
    questions,
    one: share(solved.one),
    three: share(solved.three),
    equalTokens: share(solved.equalTokens),
    search: share(solved.search),
    tokensPerTree: tokens / questions,
  };
}

type Asked = Pick<CompareOptions, "sampler" | "episode" | "seed" | "signal">;

/** Asks until an answer is right, at least three times and until the tokens are used up. */
async function sampleUntilSolved(
  { sampler, episode, seed, signal }: Asked,
  record: TaskRecord,
  budget: number,
): Promise<Record<"one" | "three" | "equalTokens", boolean>> {
  let used = 0;
  for (let i = 0; i < 3 || used < budget; i++) {
    const key = deriveSeed(seed, "sample", record.id, i);
    const options = signal === undefined ? {} : { signal };
    const played = await runEpisode(sampler, record, episode, key, options);
    if (played.stopReason === "samplerError")
      throw new VigorlError("io", `record ${record.id}: ${played.error ?? "the sampler failed"}`);
    const score = played.judged ?? judge(record, played.answer, { view: played.view });
    if (score >= correctReward)
      return { one: i === 0, three: i < 3, equalTokens: i === 0 || used < budget };
    used += Math.max(1, played.numTokens.model);
  }
  return { one: false, three: false, equalTokens: false };
}
