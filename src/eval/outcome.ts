/** What comes of one sample of a question, and what can be said of it without knowing the question. */
import { mean } from "../core/statistics.ts";
import type { Usage } from "../engine/types.ts";
import type { AnswerView } from "../task/trajectory.ts";
import type { Verdict } from "./benchmarks/benchmark.ts";
import type { Judgement } from "./model-judge.ts";

/** What came of one sample of a question. */
export interface Outcome {
  readonly recordId: string;
  /** From 0, where a question has several. */
  readonly sample?: number | undefined;
  readonly category: string | null;
  /** The judge's verdict in [0, 1]. */
  readonly score: number;
  readonly answer: string | null;
  /** Tool calls that were carried out. */
  readonly toolUses: number;
  /** Tokens that the model wrote, and those that it read, images among them. */
  readonly tokens: { readonly written: number; readonly read: number };
  /** Of all calls of the episode together, each reading anew what stands before it; absent in old runs. */
  readonly usage?: (Usage & { readonly calls: number }) | undefined;
  readonly stopReason: string;
  readonly error: string | null;
  /** What the verdict came from, so that it can be scored again by other rules. */
  readonly reply: { readonly text: string; readonly view: AnswerView | null };
  readonly verdict?: Omit<Verdict, "score"> | undefined;
  /** Where a model was asked: what it said, and the score by the rules. */
  readonly judged?: { readonly verdict: Judgement["verdict"]; readonly rules: number } | undefined;
  /**
   * Where a question has several samples and its kind does not point: samples with the same number say
   * the same; null where nothing was read.
   */
  readonly vote?: number | null | undefined;
}

/** What is counted of an outcome: all that is held of every question at once, however many there are. */
export type Counted = Pick<
  Outcome,
  | "recordId"
  | "sample"
  | "category"
  | "score"
  | "toolUses"
  | "stopReason"
  | "error"
  | "judged"
  | "vote"
>;

/** Takes what is counted of outcomes; texts that many of them have are held once. */
export function counter(): (outcome: Outcome) => Counted {
  const texts = new Map<string, string>();
  const once = (text: string): string => {
    const known = texts.get(text);
    if (known === undefined) texts.set(text, text);
    return known ?? text;
  };
  return ({ recordId, sample, category, score, toolUses, stopReason, error, judged, vote }) => ({
    recordId,
    ...(sample !== undefined && { sample }),
    category: category === null ? null : once(category),
    score,
    toolUses,
    stopReason: once(stopReason),
    error,
    ...(judged && { judged }),
    ...(vote !== undefined && { vote }),
  });
}

/** A verdict of at least a half, where answers are counted as right or wrong. */
export function isRight({ score }: Pick<Outcome, "score">): boolean {
  return score >= 0.5;
}

/** True where nothing is known of the model: the question could not be asked, or engine or tool failed. */
export function isUnanswered({ stopReason }: Pick<Outcome, "stopReason">): boolean {
  return ["inputError", "samplerError", "toolError"].includes(stopReason);
}

/** True where nothing is known of an answer: none was given, or the judge did not say what it is worth. */
export function isUncounted(outcome: Pick<Outcome, "stopReason" | "judged">): boolean {
  return isUnanswered(outcome) || outcome.judged?.verdict === "unread";
}

/**
 * One outcome a question: where there are several samples, the first one that was answered, with the
 * mean score of those that were.
 */
export function perQuestion<T extends Counted>(outcomes: readonly T[]): T[] {
  if (outcomes.every(({ sample }) => sample === undefined)) return [...outcomes];
  return [...groupBy(outcomes, ({ recordId }) => recordId).values()].map(together);
}

function together<T extends Counted>(samples: readonly T[]): T {
  const answered = samples.filter((outcome) => !isUncounted(outcome));
  if (answered.length === 0) return samples[0];
  return { ...answered[0], score: mean(answered.map(({ score }) => score)) };
}

/** Outcomes of the questions that two arms were both asked, one a question, in the order of the first. */
export function onSameQuestions(
  ours: readonly Counted[],
  theirs: readonly Counted[],
): [ours: Counted[], theirs: Counted[]] {
  const others = new Map(theirs.map((outcome) => [outcome.recordId, outcome]));
  const shared = ours.filter(({ recordId }) => others.has(recordId));
  return [shared, shared.flatMap(({ recordId }) => others.get(recordId) ?? [])];
}

/** Places of the questions that two arms both answered. */
export function answeredByBoth(ours: readonly Counted[], theirs: readonly Counted[]): number[] {
  return ours.flatMap((outcome, i) => (isUncounted(outcome) || isUncounted(theirs[i]) ? [] : [i]));
}

/** Groups by a key, in the order of first appearance; entries without a key are left out. */
export function groupBy<T>(
  items: readonly T[],
  keyOf: (item: T) => string | null,
): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    if (key === null) continue;
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
