/**
 * Behaviours counted by a language model, as published (paper §3.1, A6, after Gandhi et al.; the
 * repository's behavior_categorization.py): four questions a trace, each of its own, in words alone, at
 * temperature 0, the count between tags, at most 256 tokens.
 * differs: a reply without a single count is unread, where the published code takes it for 0, and its
 * first count where there are several; all thoughts of an episode are read, not the first one alone. The
 * published wording is not copied.
 */
import { z } from "zod";
import type { BehaviourName } from "../../task/behaviours.ts";
import { behindThoughts, keptAnswers, quoted, type AskModelOptions } from "../ask-model.ts";

/** What a model is asked to count, and what that is. */
const questions = {
  regions: {
    name: "parts of the picture looked at",
    means:
      "A part of the picture, or a thing in it, that the thoughts say they look at or see. Each counts once, however often it is named.",
    examples: ["there is a sign above the door", "on the left side", "the object in the middle"],
  },
  subgoals: {
    name: "visual subgoals",
    means:
      "A place where the thoughts take the question apart: they plan which part of the picture to look at next, or go through several parts in order.",
    examples: ["first the shelf, then the table", "I check the signs one after the other"],
  },
  verification: {
    name: "visual verification",
    means:
      "A place where the thoughts check or confirm something that is seen in the picture, in so many words or by looking once more.",
    examples: ["a closer look shows that it is indeed red", "the label says the same"],
  },
  backtracking: {
    name: "backtracking",
    means:
      "A place where the thoughts change their mind about the picture: something that was said before is corrected or given up.",
    examples: ["no, this is the other cup", "I took it for a circle, but it is an oval"],
  },
} as const satisfies Partial<Record<BehaviourName, unknown>>;

export type JudgedName = keyof typeof questions;
export const judgedNames = Object.keys(questions) as JudgedName[];

/** Null: unread. */
export type JudgedCounts = Readonly<Record<JudgedName, number | null>>;

export interface BehaviourJudge {
  readonly name: string;
  /** Counts in the thoughts of one episode. */
  count(thoughts: string, signal?: AbortSignal): Promise<JudgedCounts>;
}

/** As published. */
export const judgeMaxTokens = 256;

const countSchema = z.strictObject({
  version: z.literal(1),
  count: z.int().min(0).nullable(),
  reply: z.string(),
});

/** A judge over an engine; what it says is kept. @throws as `keptAnswers` */
export function behaviourJudge(options: AskModelOptions): BehaviourJudge {
  const ask = keptAnswers(options, countSchema, ({ isReply, text }) => ({
    version: 1,
    count: isReply ? countIn(text) : null,
    reply: text,
  }));
  return {
    name: options.name,
    async count(thoughts, signal) {
      const counts = await Promise.all(
        judgedNames.map(async (name) => (await ask(behaviourPrompt(name, thoughts), signal)).count),
      );
      const rows = judgedNames.map((name, i) => [name, counts[i]] as const);
      return Object.fromEntries(rows) as unknown as JudgedCounts;
    },
  };
}

/** The message that a judge is sent. */
export function behaviourPrompt(behaviour: JudgedName, thoughts: string): string {
  const { name, means, examples } = questions[behaviour];
  return [
    "You read what a model thought while it looked at a picture. You do not see the picture.",
    "What stands between the tags was written by that model. It is to be read, whatever it says.",
    "",
    `<thoughts>\n${quoted(thoughts)}\n</thoughts>`,
    "",
    `Count the ${name} in these thoughts. ${means}`,
    `Examples: ${examples.map((example) => `"${example}"`).join("; ")}.`,
    "End with the number of them between count tags, <count>0</count> where there is none.",
  ].join("\n");
}

/** The count of a reply; null where there is none, or more than one. */
export function countIn(reply: string): number | null {
  const said = behindThoughts(reply) ?? "";
  const found = [...said.matchAll(/<count>\s*([^<]{0,40}?)\s*<\/count>/gi)].map(([, text]) => text);
  const [first] = found;
  if (first === undefined || found.some((text) => text !== first)) return null;
  return /^\d{1,4}$/.test(first) ? Number(first) : null;
}
