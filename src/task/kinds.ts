/**
 * The kinds of answer, one line each. A kind says how its truth looks in a record, how an answer is
 * judged, what prompts say of it and how it is drawn; nobody else names one.
 */
import { action } from "./kinds/action.ts";
import { choice } from "./kinds/choice.ts";
import type { Kind, ShownTruth, TruthProblem } from "./kinds/kind.ts";
import { maths } from "./kinds/maths.ts";
import { number } from "./kinds/number.ts";
import { point } from "./kinds/point.ts";
import { text } from "./kinds/text.ts";
import { yesNo } from "./kinds/yes-no.ts";
import type { AnswerView } from "./trajectory.ts";
import type { z } from "zod";

export const kinds = { text, choice, number, point, action, "yes-no": yesNo, maths } as const;

export type KindName = keyof typeof kinds;
export const kindNames = Object.keys(kinds) as [KindName, ...KindName[]];

/** A truth as some kind has it. */
export type Truth = z.output<(typeof kinds)[KindName]["truth"]>;

/** What is asked for, without the images. */
export interface Asked {
  readonly kind: KindName;
  readonly answer: Truth;
  readonly choices?: readonly string[] | undefined;
}

/** What is wrong with a record's truth: its form, or that nothing could be right by it. */
export function truthProblem({ kind, answer, choices }: Asked): TruthProblem | null {
  const rules: Kind<Truth> = kindOf(kind);
  const truth = rules.truth.safeParse(answer);
  if (truth.success) return rules.problem(truth.data, choices ?? []);
  const shape = typeof answer === "object" ? truth.error.issues[0] : undefined;
  const detail = shape?.code === "unrecognized_keys" ? ` (${shape.message})` : "";
  return { message: `kind "${kind}" wants ${rules.wants}${detail}` };
}

/** The truth as a reader is shown it. */
export function shownTruth({ kind, answer }: Pick<Asked, "kind" | "answer">): ShownTruth {
  return kindOf(kind).show(answer);
}

/** The truth as the model that sees the picture so would answer it. */
export function writtenTruth({ kind, answer }: Pick<Asked, "kind" | "answer">, view: AnswerView) {
  return kindOf(kind).write?.(answer, view) ?? shownTruth({ kind, answer }).text;
}

/** A kind's rules, for a truth that `truthProblem` found sound. */
export function kindOf(name: KindName): Kind<Truth> {
  // Each kind judges its own truths only: a record's answer was checked against its kind.
  return kinds[name] as unknown as Kind<Truth>;
}
