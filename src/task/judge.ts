/**
 * Is the answer right? By the rule of its kind, which is exact: an answer counts when it says the same
 * thing as the truth, and a truth inside a longer text counts nothing. The published judges, with
 * their false positives, are the profile "repo".
 */
import { kindOf, type Asked } from "./kinds.ts";
import type { AnswerView } from "./trajectory.ts";

export const judgeProfiles = ["default", "repo"] as const;

export interface JudgeOptions {
  readonly profile?: (typeof judgeProfiles)[number];
  /** How coordinates in the answer are to be read; without it they are original-image pixels. */
  readonly view?: AnswerView | null;
}

/** 1 when `answer` is right, 0 when it is wrong or null. */
export function judge(record: Asked, answer: string | null, options: JudgeOptions = {}): number {
  if (answer === null) return 0;
  const rules = kindOf(record.kind);
  const isRight = options.profile === "repo" ? rules.isRightRepo : rules.isRight;
  const context = { choices: record.choices ?? [], view: options.view ?? null };
  return Number(isRight(answer, record.answer, context));
}
