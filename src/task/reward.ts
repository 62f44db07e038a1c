/**
 * What an episode is worth: terms with weights, summed. The terms are a table, one file a term; a
 * profile is data: whose rules measure, and what each term is worth. "default", ours: the answer
 * decides, a small term for form and a smaller capped bonus for looking at distinct places, paid only
 * to right answers, so that no wrong answer is ever worth more than a right one. The others are what
 * was published, each with its faults. All are pure functions.
 */
import { z } from "zod";
import { ownModule } from "../core/own-module.ts";
import type { Asked } from "./kinds.ts";
import type { RewardFunction } from "./own-reward.ts";
import { answer } from "./rewards/answer.ts";
import { distance } from "./rewards/distance.ts";
import { distinct } from "./rewards/distinct.ts";
import { format } from "./rewards/format.ts";
import type { RewardTerm, Scored } from "./rewards/term.ts";

export const rewardTerms = { answer, format, distinct, distance } as const satisfies Record<
  string,
  RewardTerm
>;

type TermName = keyof typeof rewardTerms;
type Weights = Readonly<Partial<Record<TermName, number | undefined>>>;
const termNames = Object.keys(rewardTerms) as [TermName, ...TermName[]];

interface RewardProfile {
  readonly rules: "ours" | "paper" | "repo";
  /** Of an episode without the tool, and of one that had it. */
  readonly single: Weights;
  readonly multi: Weights;
}

const ours: Weights = { answer: 1, format: 0.1, distinct: 0.025 };

/**
 * Weights of the published ones are the repository's; the paper names none. Its older functions, no
 * longer used there, weigh 0.7 and 0.3; with the nearness in the answer's place they are the
 * Euclidean ablation.
 */
const rewardProfiles = {
  default: { rules: "ours", single: ours, multi: ours },
  paper: {
    rules: "paper",
    single: { answer: 0.5, format: 0.5, distinct: 0 },
    multi: { answer: 0.6, format: 0.4, distinct: 0.4 * 0.2 },
  },
  repo: {
    rules: "repo",
    single: { answer: 0.5, format: 0.5, distinct: 0 },
    multi: { answer: 0.6, format: 0.4, distinct: 0.4 * 0.2 },
  },
  "repo-legacy": {
    rules: "repo",
    single: { answer: 0.7, format: 0.3 },
    multi: { answer: 0.7, format: 0.3 },
  },
  "repo-distance": {
    rules: "repo",
    single: { format: 0.3, distance: 0.7 },
    multi: { format: 0.3, distance: 0.7 },
  },
} as const satisfies Record<string, RewardProfile>;

type ProfileName = keyof typeof rewardProfiles;

/** A key a term. */
const weightsSchema = z.strictObject(
  Object.fromEntries(
    termNames.map((name) => [
      name,
      z
        .number()
        .nonnegative()
        .optional()
        .describe(`weight of ${rewardTerms[name].about}; default the profile's`),
    ]),
  ) as Record<TermName, z.ZodOptional<z.ZodNumber>>,
);

export const rewardConfigSchema = z
  .strictObject({
    profile: z
      .enum(Object.keys(rewardProfiles) as [ProfileName, ...ProfileName[]])
      .default("default")
      .describe("rules and weights: ours, the paper's, or the repository's"),
    weights: weightsSchema
      .prefault({})
      .describe("laid over the profile's; what is not written is as the profile says"),
    grounded: z
      .boolean()
      .default(true)
      .describe("thoughts must name points; switch off for models that think without coordinates"),
    module: ownModule<RewardFunction>(
      "a module whose default export says what an episode is worth, in the place of the terms",
    ).optional(),
    url: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe("a server that says it, asked with batches of episodes by HTTP"),
    server: z
      .strictObject({
        batchSize: z.int().min(1).default(64).describe("episodes in one request"),
        timeoutSeconds: z.number().positive().default(60).describe("longest wait for its answer"),
        retries: z
          .int()
          .min(0)
          .default(3)
          .describe("further tries after cut lines and busy servers"),
        retryDelaySeconds: z
          .number()
          .min(0)
          .default(1)
          .describe("pause before the first of them; it doubles with each"),
        maxReplyMiB: z.int().min(1).max(1024).default(16).describe("longer answers are refused"),
      })
      .prefault({})
      .describe("how that server is asked"),
    distinctMax: z
      .int()
      .nonnegative()
      .default(4)
      .describe("default: how many places are paid for at most"),
    minDistancePx: z
      .number()
      .positive()
      .default(10)
      .describe("places nearer than this count as one; pixels of the image as the model sees it"),
  })
  .superRefine(({ profile, weights, module, url }, context) => {
    if (module !== undefined && url !== undefined)
      context.addIssue({ code: "custom", path: ["url"], message: "give module or url, not both" });
    if (profile === "default" && canBeFarmed({ ...ours, ...weights }))
      context.addIssue({
        code: "custom",
        path: ["weights"],
        message:
          "a wrong answer could be worth as much as a right one; the other terms must weigh less than the answer",
      });
  });

export type RewardConfig = z.infer<typeof rewardConfigSchema>;
export type RewardServer = RewardConfig["server"];
/** What scoring by terms goes by. */
export type RewardRules = Omit<RewardConfig, "module" | "url" | "server">;

export interface Reward {
  /** The sum of `terms`. */
  readonly total: number;
  /** Whether the answer is right, 0 to 1, by the profile's own rule. */
  readonly accuracy: number;
  /** What each term contributes: measure times weight. */
  readonly terms: Readonly<Record<string, number>>;
}

/** Scores an episode by the terms of its profile. */
export function scoreEpisode(episode: Scored, record: Asked, config: RewardRules): Reward {
  const profile: RewardProfile = rewardProfiles[config.profile];
  const weights: Weights = {
    ...(episode.tools.length > 0 ? profile.multi : profile.single),
    ...config.weights,
  };
  const measure = (name: TermName) => {
    const term: RewardTerm = rewardTerms[name];
    return (term[profile.rules] ?? term.ours)(episode, record, config);
  };
  const accuracy = measure("answer");
  const terms: Record<string, number> = {};
  let total = 0;
  for (const name of termNames) {
    const weight = weights[name];
    if (weight === undefined) continue;
    terms[name] = weight === 0 ? 0 : weight * (name === "answer" ? accuracy : measure(name));
    total += terms[name];
  }
  return { total, accuracy, terms };
}

/** Whether the best wrong answer could be worth as much as the worst right one. */
function canBeFarmed({ answer: right = 0, ...others }: Weights): boolean {
  let gained = 0;
  for (const [name, weight] of Object.entries(others)) {
    const term: RewardTerm = rewardTerms[name as TermName];
    if (term.onlyRight !== true) gained += weight ?? 0;
  }
  return gained >= right;
}
