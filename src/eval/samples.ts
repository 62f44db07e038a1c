/**
 * Several samples of a question: how often at least one of k is right (pass@k), and whether the answer
 * that most samples give is (majority). Figures are means over questions, with intervals over questions.
 * pass@k is the unbiased estimator of Chen et al., "Evaluating Large Language Models Trained on Code"
 * (2021): of n samples with c right ones, 1 − C(n − c, k) / C(n, k).
 * Left out: majorities of places, which are no answers that agree or not.
 */
import { z } from "zod";
import { mean, meanInterval } from "../core/statistics.ts";
import { judge } from "../task/judge.ts";
import { kindOf, truthProblem } from "../task/kinds.ts";
import type { TaskRecord } from "../task/record.ts";
import { groupBy, isRight, isUncounted, type Counted, type Outcome } from "./outcome.ts";

const figure = z.strictObject({
  /** Questions with samples enough. */
  n: z.int(),
  accuracy: z.number(),
  ci95: z.tuple([z.number(), z.number()]),
});
export type SampleFigure = z.infer<typeof figure>;

export const sampleFactsSchema = z.strictObject({
  /** Samples of a question. */
  samples: z.int(),
  /** At least one of k samples is right; k from 1 to all. */
  passAt: z.array(figure.extend({ k: z.int() })),
  /** The answer that most samples give is right; null for kinds that point. */
  majority: figure
    .extend({
      /** Questions in which several answers had the most votes; the one that came first counts. */
      ties: z.int(),
    })
    .nullable(),
});
export type SampleFacts = z.infer<typeof sampleFactsSchema>;

/** 1 − C(n − c, k) / C(n, k) for 1 ≤ k ≤ n: the chance that k of n samples hold one of c right ones. */
export function passAtK(n: number, right: number, k: number): number {
  if (n - right < k) return 1;
  let none = 1;
  for (let i = 0; i < k; i++) none *= (n - right - i) / (n - i);
  return 1 - none;
}

/** The samples of one question that were answered. */
export interface Sampled {
  readonly recordId: string;
  readonly samples: readonly Counted[];
}

/** Answered samples by question, in the order of the outcomes; questions without any are left out. */
export function sampledQuestions(outcomes: readonly Counted[]): Sampled[] {
  const counted = outcomes.filter((outcome) => !isUncounted(outcome));
  return [...groupBy(counted, ({ recordId }) => recordId)].map(([recordId, samples]) => ({
    recordId,
    samples,
  }));
}

/** How many samples a question has at most; 1 where they are not numbered. */
export function numSamples(outcomes: readonly Counted[]): number {
  return outcomes.reduce((most, { sample = 0 }) => Math.max(most, sample + 1), 1);
}

/** pass@k of one question; null where it has fewer samples. */
export function passOf({ samples }: Sampled, k: number): number | null {
  if (samples.length < k) return null;
  return passAtK(samples.length, samples.filter(isRight).length, k);
}

/**
 * The verdict of the answer that most samples of a question give; of several with as many votes, the one
 * that came first. A sample without an answer has no vote, and a question without votes is wrong. Null
 * where samples were not compared.
 */
export function majorityOf({ samples }: Sampled): { score: number; isTie: boolean } | null {
  if (samples.some(({ vote }) => vote === undefined)) return null;
  const votes = groupBy(
    samples.filter(({ vote }) => vote !== null),
    ({ vote }) => String(vote),
  );
  const classes = [...votes.values()];
  if (classes.length === 0) return { score: 0, isTie: false };
  const most = Math.max(...classes.map(({ length }) => length));
  const [first, ...others] = classes.filter(({ length }) => length === most);
  return { score: first[0].score, isTie: others.length > 0 };
}

/** What several samples of a question come to; undefined where each has one. */
export function sampleFactsOf(outcomes: readonly Counted[]): SampleFacts | undefined {
  const samples = numSamples(outcomes);
  const questions = sampledQuestions(outcomes);
  if (samples === 1 || questions.length === 0) return undefined;
  const passAt = Array.from({ length: samples }, (_, i) => i + 1).flatMap((k) => {
    const values = questions.flatMap((one) => passOf(one, k) ?? []);
    return values.length === 0 ? [] : [{ k, ...figureOf(values, samples) }];
  });
  const majorities = questions.flatMap((one) => majorityOf(one) ?? []);
  return {
    samples,
    passAt,
    majority:
      majorities.length < questions.length
        ? null
        : {
            ...figureOf(
              majorities.map(({ score }) => score),
              1,
            ),
            ties: majorities.filter(({ isTie }) => isTie).length,
          },
  };
}

function figureOf(values: readonly number[], samples: number): SampleFigure {
  const [low, high] = meanInterval(values, samples * values.length);
  return { n: values.length, accuracy: mean(values), ci95: [low, high] };
}

/**
 * Numbers the answers of one question: samples whose answers say the same by the judge of its kind have the
 * same number. Where nothing was read there is no vote; kinds that point have none, nor have questions
 * with a single sample.
 */
export function withVotes(record: TaskRecord, samples: readonly Outcome[]): readonly Outcome[] {
  const isVoted = samples.some(({ sample }) => sample !== undefined);
  if (!isVoted || kindOf(record.kind).place !== undefined) return samples;
  const known: string[] = [];
  return samples.map((outcome) => {
    const { vote: _, ...rest } = outcome;
    return { ...rest, vote: voteOf(record, outcome, known) };
  });
}

/** @param known answers of the question so far, one a class; a new one is added */
function voteOf(record: TaskRecord, outcome: Outcome, known: string[]): number | null {
  const read = outcome.verdict === undefined ? outcome.answer : outcome.verdict.read;
  if (read === null || read.trim() === "") return null;
  const vote = known.findIndex((answer) => saySame(record, answer, read));
  return vote >= 0 ? vote : known.push(read) - 1;
}

/** Whether one answer would be right if the other were the truth. */
function saySame(record: TaskRecord, a: string, b: string): boolean {
  if (a.trim() === b.trim()) return true;
  return isRightBy(record, a, b) || isRightBy(record, b, a);
}

function isRightBy({ kind, choices }: TaskRecord, truth: string, answer: string): boolean {
  const asked = { kind, answer: truth, ...(choices === undefined ? {} : { choices }) };
  return truthProblem(asked) === null && judge(asked, answer) === 1;
}

/** The k that tables show: 1, 2, 4, … and all of them. */
export function shownK<T extends { readonly k: number }>({
  samples,
  passAt,
}: {
  readonly samples: number;
  readonly passAt: readonly T[];
}): T[] {
  return passAt.filter(({ k }) => k === samples || Number.isInteger(Math.log2(k)));
}
