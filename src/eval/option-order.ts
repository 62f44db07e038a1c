/**
 * What the order of options does: the same questions as they stand and with their options shuffled. By
 * how much accuracy moves is in the comparison of the two arms; here is how often the right option's
 * place decides. With orders drawn at random, accuracy has no reason to differ between places, so a
 * permutation test on the shuffled arm says whether it does.
 * Left out: questions of different numbers of options are never compared with each other.
 */
import { z } from "zod";
import { stream } from "../core/random.ts";
import { mean } from "../core/statistics.ts";
import { choiceIndex } from "../task/kinds/choice.ts";
import type { Asked } from "./controls.ts";
import { isRight, isUncounted } from "./outcome.ts";
import type { AnsweredQuestion } from "./with-records.ts";

const atPlace = z.strictObject({
  /** Questions whose right option stands there. */
  n: z.int(),
  accuracy: z.number().nullable(),
  /** Replies that choose what stands there. */
  chosen: z.int(),
});

export const optionOrderSchema = z.strictObject({
  /** Questions that both arms answered. */
  n: z.int(),
  /** Those among them whose right option stands elsewhere. */
  moved: z.int(),
  /** Right as they stand and wrong in the other order, and the other way round. */
  lost: z.int(),
  gained: z.int(),
  /** Share of the questions with an option read in both replies whose option is the same. */
  sameChoice: z.number().nullable(),
  /** By the place of the right option, from 0. */
  places: z.array(z.strictObject({ asItIs: atPlace, shuffled: atPlace })),
  /** That accuracy differs so between places by chance; null where nothing could differ. */
  p: z.number().nullable(),
  /** Questions that were not asked, by the reason. */
  leftOut: z.record(z.string(), z.int()),
});
export type OptionOrder = z.infer<typeof optionOrderSchema>;

/** A question under one of the two orders. */
interface Placed {
  readonly numChoices: number;
  /** Place of the right option. */
  readonly place: number;
  /** Place of the option that was chosen, or -1. */
  readonly chosen: number;
  /** Its text. */
  readonly said: string | null;
  readonly score: number;
}

/** @param leftOut of the shuffled arm; null where no question was answered by both */
export async function optionOrderOf(
  asItIs: AsyncIterable<AnsweredQuestion>,
  shuffled: AsyncIterable<AnsweredQuestion>,
  leftOut: Asked["leftOut"],
): Promise<OptionOrder | null> {
  const before = await placedBy(asItIs);
  const after = await placedBy(shuffled);
  const pairs = [...after].flatMap(([id, now]) => {
    const was = before.get(id);
    return was === undefined ? [] : [{ was, now }];
  });
  if (pairs.length === 0) return null;
  const turned = (from: "was" | "now", to: "was" | "now") =>
    pairs.filter((pair) => isRight(pair[from]) && !isRight(pair[to])).length;
  const chosen = pairs.filter(({ was, now }) => was.said !== null && now.said !== null);
  const numPlaces = Math.max(...pairs.map(({ now }) => now.numChoices));
  return {
    n: pairs.length,
    moved: pairs.filter(({ was, now }) => was.place !== now.place).length,
    lost: turned("was", "now"),
    gained: turned("now", "was"),
    sameChoice:
      chosen.length === 0
        ? null
        : chosen.filter(({ was, now }) => was.said === now.said).length / chosen.length,
    places: Array.from({ length: numPlaces }, (_, place) => ({
      asItIs: countAt(
        pairs.map(({ was }) => was),
        place,
      ),
      shuffled: countAt(
        pairs.map(({ now }) => now),
        place,
      ),
    })),
    p: placeTest(pairs.map(({ now }) => now)),
    leftOut: leftOut as Record<string, number>,
  };
}

async function placedBy(questions: AsyncIterable<AnsweredQuestion>): Promise<Map<string, Placed>> {
  const placed = new Map<string, Placed>();
  for await (const { record, outcome } of questions) {
    const { choices = [], answer, facts } = record;
    if (typeof answer !== "string" || choices.length === 0 || isUncounted(outcome)) continue;
    const read = outcome.verdict === undefined ? outcome.answer : outcome.verdict.read;
    const chosen = read === null ? -1 : choiceIndex(read, choices);
    const gold = facts?.gold;
    placed.set(outcome.recordId, {
      numChoices: choices.length,
      place: typeof gold === "number" ? gold : choiceIndex(answer, choices),
      chosen,
      said: choices[chosen] ?? null,
      score: outcome.score,
    });
  }
  return placed;
}

function countAt(placed: readonly Placed[], place: number): z.infer<typeof atPlace> {
  const there = placed.filter((one) => one.place === place);
  return {
    n: there.length,
    accuracy: there.length === 0 ? null : mean(there.map(({ score }) => score)),
    chosen: placed.filter((one) => one.chosen === place).length,
  };
}

const RESAMPLES = 2000;

/**
 * Permutation test that accuracy does not depend on the place of the right option: scores are exchanged
 * among questions of as many options. Statistic: Σ n (mean at the place − mean)².
 */
export function placeTest(placed: readonly Pick<Placed, "numChoices" | "place" | "score">[]) {
  const strata = [...new Set(placed.map(({ numChoices }) => numChoices))].map((count) => {
    const own = placed.filter(({ numChoices }) => numChoices === count);
    return { places: own.map(({ place }) => place), scores: own.map(({ score }) => score) };
  });
  const canDiffer = strata.some(
    ({ places, scores }) => new Set(places).size > 1 && new Set(scores).size > 1,
  );
  if (!canDiffer) return null;
  const observed = strata.reduce((sum, { places, scores }) => sum + spread(places, scores), 0);
  const rng = stream(0, "places", placed.length);
  let atLeast = 0;
  for (let i = 0; i < RESAMPLES; i++) {
    const drawn = strata.reduce(
      (sum, { places, scores }) => sum + spread(places, rng.shuffle(scores)),
      0,
    );
    // Equal but for rounding is equal.
    if (drawn >= observed - 1e-9) atLeast++;
  }
  return (1 + atLeast) / (1 + RESAMPLES);
}

function spread(places: readonly number[], scores: readonly number[]): number {
  const sums = new Map<number, { n: number; sum: number }>();
  let total = 0;
  for (const [i, place] of places.entries()) {
    const at = sums.get(place) ?? { n: 0, sum: 0 };
    at.n++;
    at.sum += scores[i];
    total += scores[i];
    sums.set(place, at);
  }
  const overall = total / places.length;
  return [...sums.values()].reduce((out, { n, sum }) => out + n * (sum / n - overall) ** 2, 0);
}
