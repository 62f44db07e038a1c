/**
 * Runs a model over questions, one sample a question or several. Episodes are independent
 * and run concurrently; each draws from a seed keyed by its record, so neither order nor concurrency
 * changes an answer, nor does a stop in between. Works over any sampler.
 */
import { z } from "zod";
import { forEachBounded } from "../core/bounded.ts";
import { VigorlError } from "../core/errors.ts";
import { withPreset } from "../core/preset.ts";
import { deriveSeed } from "../core/random.ts";
import { engineLabel, engineSchema } from "../engine/open.ts";
import type { Sampler } from "../engine/types.ts";
import { imageBounds, someLimitsSchema, type EpisodeConfig } from "../task/episode-config.ts";
import { runEpisode } from "../task/episode.ts";
import { judge, judgeProfiles } from "../task/judge.ts";
import { kindOf, shownTruth } from "../task/kinds.ts";
import type { TaskRecord } from "../task/record.ts";
import { recordAt, type Records } from "../task/records.ts";
import { countUses, usageOf, type Trajectory } from "../task/trajectory.ts";
import type { Protocol } from "./benchmarks/benchmark.ts";
import { replyOf } from "./benchmarks/score.ts";
import { conditionTable, conditions, type Condition } from "./controls.ts";
import type { ModelJudge } from "./model-judge.ts";
import { depths } from "./leaks/pictures.ts";
import type { Counted, Outcome } from "./outcome.ts";
import { Spending, type Spent } from "./spent.ts";

const profileNames = [
  "default",
  "paper",
  "paper-multi",
  "paper-spatial",
  "repo",
  "repo-multi",
  "repo-spatial",
] as const;

const modelJudgeSchema = z.strictObject({
  engine: engineSchema.describe("the model that judges"),
  rules: z.enum(judgeProfiles).default("default").describe("what it is compared with"),
  maxTokens: z.int().min(16).default(512).describe("bound on its reply, thoughts included"),
});

const evalFields = z.strictObject({
  profile: z
    .enum(profileNames)
    .default("default")
    .describe(
      "preset that fills in what is not written: ours, the paper's, or the repository's, which bounds the side of pictures for spatial questions and their area for all others",
    ),
  temperature: z.number().min(0).default(0).describe("0 is greedy; the paper samples at 0.5"),
  topP: z.number().gt(0).max(1).default(1).describe("nucleus sampling; 1 switches it off"),
  topK: z.int().min(0).default(0).describe("keep the k likeliest tokens; 0 switches it off"),
  concurrency: z.int().min(1).default(64).describe("episodes in flight at once"),
  judge: z
    .union([z.enum(judgeProfiles), modelJudgeSchema])
    .default("default")
    .describe(
      "rules by which an answer is right: ours, or the published ones; or a model that is asked, {engine: …, rules: default, maxTokens: 512}, beside rules that it is compared with",
    ),
  samples: z
    .int()
    .min(1)
    .default(1)
    .describe(
      "episodes for each question: its score is their mean, intervals are over questions, and pass@k and the majority are told",
    ),
  malformed: z
    .enum(["judged", "wrong"])
    .default("judged")
    .describe(
      "answers behind a turn without a thought: judged like others, or wrong, as in the published code",
    ),
  image: imageBounds.optional().describe("laid over image while evaluating"),
  episode: someLimitsSchema.optional().describe("laid over episode while evaluating"),
  controls: z
    .array(z.enum(conditions).exclude(["none"]))
    .default([])
    .describe("controls to run beside the model as it is"),
  traces: z
    .union([z.int().min(0), z.literal("all")])
    .default(24)
    .describe("questions whose episodes are kept whole: so many from the front, or all"),
  leaks: z
    .enum(["off", ...depths])
    .default("files")
    .describe(
      "whether the report says which questions occur in data.train: by words and the files of pictures; by near pictures, too, for which all of them are decoded; or not",
    ),
  maxFailed: z
    .number()
    .min(0)
    .max(1)
    .default(0.01)
    .describe(
      "share of questions that may fail for other reasons than the model; above it there is no report",
    ),
});
/** The rules that answers are judged by, alone or beside a model. */
export function rulesOf({ judge }: Pick<EvalConfig, "judge">): (typeof judgeProfiles)[number] {
  return typeof judge === "string" ? judge : judge.rules;
}

/** What verdicts came about by, for records: the rules, or a model. */
export function ruleName({ judge }: Pick<EvalConfig, "judge">): string {
  return typeof judge === "string" ? judge : `${engineLabel(judge.engine)}, ${judge.rules}`;
}

export type EvalConfig = z.infer<typeof evalFields>;
type EvalPreset = Partial<z.input<typeof evalFields>>;

const published: EvalPreset = {
  temperature: 0.5,
  topP: 1,
  judge: "repo",
  image: { minPixels: 4096, maxPixels: 12_960_000, reading: "qwen-vl-utils" },
  episode: { maxTokensPerTurn: 2048, maxTotalTokens: 2048 },
};
/** No bound on all turns together is published; this one is above five turns and four crops. */
const severalTurns: EvalPreset["episode"] = {
  maxTurns: 5,
  maxToolImages: 4,
  maxTokensPerTurn: 2048,
  maxTotalTokens: 16_384,
};
const sideOf1260: EvalPreset["image"] = { ...published.image, maxSide: 1260 };
const repo: EvalPreset = { ...published, malformed: "wrong" };

/** Presets by name. Of the judge the paper says nothing, so its profiles have the repository's. */
export const evalProfiles: Readonly<Record<EvalConfig["profile"], EvalPreset>> = {
  default: {},
  paper: published,
  "paper-multi": { ...published, episode: severalTurns },
  "paper-spatial": { ...published, image: sideOf1260 },
  repo,
  "repo-multi": { ...repo, topP: 0.99, episode: severalTurns },
  "repo-spatial": { ...repo, image: sideOf1260 },
};

/** Parses the `eval` section of a recipe: written keys over the preset over the defaults. */
export const evalSchema = z.preprocess(
  (input) => withPreset(input, evalProfiles),
  evalFields.refine(({ samples, temperature }) => samples === 1 || temperature > 0, {
    message: "1, or eval.temperature above 0: greedy samples are all the same",
    path: ["samples"],
  }),
);

/** What is asked, of whom and how. */
export interface AskOptions {
  readonly sampler: Sampler;
  readonly records: Records;
  /** With the tools of the condition already in it. */
  readonly episode: EpisodeConfig;
  readonly config: EvalConfig;
  readonly condition: Condition;
  readonly seed: number;
  /** Of a benchmark's protocol; without it answers are judged by their kind, as the config says. */
  readonly judge?: Protocol["judge"] | undefined;
  /** Asked of answers that no rule is exact for; its word goes before that of the rules. */
  readonly modelJudge?: ModelJudge | undefined;
  readonly signal?: AbortSignal;
}

/** An episode that has ended. */
export interface Ended {
  /** Number of the sample: that of its question times the samples of a question, and its own. */
  readonly at: number;
  readonly outcome: Outcome;
  readonly episode: Trajectory;
  readonly record: TaskRecord;
}

/**
 * Answers every question as often as the config says, but for samples that are known already. What comes
 * of each goes to `keep` in the order in which they end, and is not held: the next one begins when it has
 * been kept.
 * @throws VigorlError("input") without records, "io" when no episode got an answer out of the sampler.
 */
export async function askAll(
  options: AskOptions,
  keep: (ended: Ended) => Promise<void> | void,
  isKnown: (at: number) => boolean = () => false,
): Promise<void> {
  const { sampler, records, config, condition, seed, signal } = options;
  if (records.length === 0) throw new VigorlError("input", "eval: there is no question to ask");
  const { temperature, topP, topK, samples, concurrency } = config;
  const episodeConfig = { ...options.episode, sampling: { temperature, topP, topK } };
  let latest: { question: number; record: TaskRecord; shown: TaskRecord } | undefined;
  // Samples of a question are asked one behind the other, and share its pictures.
  const questionOf = (question: number) => {
    if (latest?.question === question) return latest;
    const record = recordAt(records, question);
    return (latest = { question, record, shown: conditionTable[condition].record(record) });
  };
  const ask = async (at: number, halt: AbortSignal): Promise<Ended> => {
    const sample = at % samples;
    const { record, shown } = questionOf(Math.floor(at / samples));
    const keys = sample === 0 ? [record.id] : [record.id, sample];
    const episodeSeed = deriveSeed(seed, "eval", ...keys);
    const episode = await runEpisode(sampler, shown, episodeConfig, episodeSeed, { signal: halt });
    const byRules = outcomeOf(episode, record, config, episodeConfig, options.judge);
    const isOut = config.malformed === "wrong" && isThoughtless(episode, episodeConfig.dialect);
    const asked = isOut ? undefined : options.modelJudge;
    const made = await judgedOutcome(byRules, record, asked, halt);
    const { recordId, ...rest } = made;
    // In the order in which it is read back.
    const outcome = samples === 1 ? made : { recordId, sample, ...rest };
    return { at, outcome, episode, record };
  };
  const all = Array.from({ length: records.length * samples }, (_, at) => at);
  const open = all.filter((at) => !isKnown(at));
  const failed: number[] = [];
  await forEachBounded(open, concurrency, signal, async (at, halt) => {
    const ended = await ask(at, halt);
    if (hasFailed(ended)) failed.push(at);
    else await keep(ended);
  });
  // Those that an engine failed on have one more chance, when the others are done.
  let numBroken = 0;
  let error: string | null = null;
  failed.sort((a, b) => a - b);
  await forEachBounded(failed, concurrency, signal, async (at, halt) => {
    const ended = await ask(at, halt);
    if (hasFailed(ended)) {
      numBroken++;
      ({ error } = ended.outcome);
    }
    await keep(ended);
  });
  if (numBroken === all.length)
    throw new VigorlError("io", `eval: the sampler failed on every question: ${error ?? ""}`);
}

function hasFailed({ outcome }: Ended): boolean {
  return outcome.stopReason === "samplerError";
}

export interface EvaluateOptions extends AskOptions {
  /** Called once an episode, in the order in which they end; the next one begins when it has ended. */
  readonly onEpisode?: (
    episode: Trajectory,
    record: TaskRecord,
    outcome: Outcome,
  ) => Promise<void> | void;
}

/** Outcomes in the order of the records, those of one question together, and how long it took. */
export interface Evaluation<T extends Counted = Counted> {
  readonly outcomes: readonly T[];
  readonly seconds: number;
  /** What it took; null or absent where that was not counted. */
  readonly spent?: Spent | null;
}

/** As `askAll`, with all outcomes and their words in memory. */
export async function evaluate({
  onEpisode,
  ...options
}: EvaluateOptions): Promise<Evaluation<Outcome>> {
  const outcomes: Outcome[] = [];
  const spending = new Spending();
  const start = performance.now();
  await askAll(options, async (ended) => {
    const { at, outcome, episode, record } = ended;
    outcomes[at] = outcome;
    spending.add(outcome);
    if (!hasFailed(ended)) await onEpisode?.(episode, record, outcome);
  });
  const seconds = (performance.now() - start) / 1000;
  return { outcomes, seconds, spent: spending.total(seconds, undefined) };
}

/**
 * The outcome by the word of a model, where one is asked: of answers whose kind or protocol has no exact
 * rule. Places are judged by the rules alone, and so is silence.
 */
async function judgedOutcome(
  outcome: Outcome,
  record: TaskRecord,
  modelJudge: ModelJudge | undefined,
  signal: AbortSignal,
): Promise<Outcome> {
  const { answer, verdict, score } = outcome;
  const isAsked = verdict === undefined || verdict.how === "llm";
  const isPlace = kindOf(record.kind).place !== undefined;
  if (modelJudge === undefined || answer === null || !isAsked || isPlace) return outcome;
  const { verdict: said } = await modelJudge.judge(
    {
      question: record.question,
      choices: record.choices ?? [],
      reference: shownTruth(record).text,
      answer,
    },
    signal,
  );
  return { ...outcome, score: said === "right" ? 1 : 0, judged: { verdict: said, rules: score } };
}

function outcomeOf(
  episode: Trajectory,
  record: TaskRecord,
  config: EvalConfig,
  { dialect }: EpisodeConfig,
  judgeReply: EvaluateOptions["judge"],
): Outcome {
  const { answer, view, stopReason, error, numTokens } = episode;
  const isOut = config.malformed === "wrong" && isThoughtless(episode, dialect);
  const reply = replyOf(episode);
  const { score: given, ...verdict } = judgeReply?.(record, reply) ?? {
    score: episode.judged ?? judge(record, answer, { profile: rulesOf(config), view }),
  };
  return {
    recordId: record.id,
    category: record.category ?? null,
    score: isOut ? 0 : given,
    answer,
    toolUses: countUses(episode),
    tokens: {
      written: numTokens.model,
      read: numTokens.prompt + numTokens.environment + numTokens.forced,
    },
    usage: usageOf(episode.chunks),
    stopReason,
    error,
    reply: { text: reply.text, view },
    ...("how" in verdict ? { verdict } : {}),
  };
}

/** Whether a turn before the last has no thought, as the published evaluation looks for it. */
function isThoughtless({ turns }: Trajectory, { tags: { think } }: EpisodeConfig["dialect"]) {
  const { open, close } = think;
  return turns.slice(0, -1).some(({ text }) => !text.includes(open) || !text.includes(close));
}
