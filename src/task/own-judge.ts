/** A judge of the user's own in the place of the kinds' rules, for search, rewards and evaluation alike. */
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { loadOwn, ownModule } from "../core/own-module.ts";
import type { TaskRecord } from "./record.ts";
import type { AnswerView } from "./trajectory.ts";

export interface JudgedIn {
  /** How coordinates in the answer are to be read; null where the images could not be loaded. */
  readonly view: AnswerView | null;
}

/** How right an answer is: 0 to 1, or whether it is. The default export of `judge.module`. */
export type JudgeFunction = (
  answer: string,
  record: TaskRecord,
  context: JudgedIn,
) => number | boolean | Promise<number | boolean>;

export const ownJudgeSchema = z.strictObject({
  module: ownModule<JudgeFunction>(
    "a module whose default export judges answers in the place of the kinds' own rules",
  ).optional(),
});

/** Judges an answer; null counts 0 without asking. */
export type AnswerJudge = (
  answer: string | null,
  record: TaskRecord,
  context: JudgedIn,
) => Promise<number>;

/** The judge that a recipe names; null where it names none. @throws VigorlError("input") */
export async function openJudge({
  module: code,
}: z.infer<typeof ownJudgeSchema>): Promise<AnswerJudge | null> {
  if (code === undefined) return null;
  const judge = await loadOwn("judge.module", code);
  if (typeof judge !== "function")
    throw new VigorlError("input", "judge.module: its default export is no function");
  return async (answer, record, context) => {
    if (answer === null) return 0;
    const said = await judge(answer, record, context);
    const score = Number(said);
    if (score >= 0 && score <= 1) return score;
    throw new VigorlError(
      "input",
      `judge.module: gave ${String(said)} for the answer to record ${record.id}`,
      { hint: "give a number from 0 to 1, or true or false" },
    );
  };
}
