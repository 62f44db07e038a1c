import { expect, test } from "vitest";
import { behaviourNames, type BehaviourCounts } from "../../task/behaviours.ts";
import {
  choose,
  differencesOf,
  figuresOf,
  type Observation,
  type ObservedGroup,
} from "./figures.ts";

function counts(given: Partial<BehaviourCounts>): BehaviourCounts {
  const none = Object.fromEntries(behaviourNames.map((name) => [name, 0]));
  return { ...(none as BehaviourCounts), cropOverlap: null, ...given };
}

function observed(id: string, looks: number, more: Partial<Observation> = {}): Observation {
  return { recordId: id, question: "q", isRight: true, counts: counts({ looks }), ...more };
}

function group(observations: readonly Observation[], name = "model", asked: number | null = null) {
  return { task: "search", group: name, asked, observations } satisfies ObservedGroup;
}

test("a question counts once, with the mean of its traces; one alone has no interval", () => {
  const own = group([observed("a", 1), observed("a", 3), observed("b", 5)], "model", 9);
  const figures = figuresOf(own);
  expect(figures).toMatchObject({ traces: 3, questions: 2, kept: 2, asked: 9, right: 1 });
  expect(figures.rules.looks).toMatchObject({ mean: 3.5, questions: 2 });
  expect(figures.rules.looks?.ci95).toEqual([2, 5]);
  expect(figures.rules.cropOverlap).toBeUndefined();
  expect(figuresOf(group([observed("a", 1)])).rules.looks?.ci95).toBeNull();
  const empty = figuresOf(group([]));
  expect(empty).toMatchObject({ traces: 0, questions: 0, right: null, rules: {} });
});

test("right traces alone are chosen, and the same questions in every group", () => {
  const wrong = { isRight: false };
  const ids = Array.from({ length: 30 }, (_, i) => `q${i}`);
  const ours = group(ids.map((id, i) => observed(id, 1, i % 3 === 0 ? wrong : {})));
  const theirs = group(
    ids.toReversed().map((id) => observed(id, 1)),
    "other",
  );
  const [right] = choose([ours], "right", null, 1);
  expect(right.observations).toHaveLength(20);
  expect(figuresOf(right, ours)).toMatchObject({ kept: 30, questions: 20 });
  expect(figuresOf(right, ours).right).toBeCloseTo(2 / 3, 12);
  const [a, b] = choose([ours, theirs], "all", 7, 1);
  const idsOf = ({ observations }: ObservedGroup) =>
    observations.map(({ recordId }) => recordId).sort();
  expect(idsOf(a)).toHaveLength(7);
  expect(idsOf(a)).toEqual(idsOf(b));
  expect(idsOf(choose([ours], "all", 7, 2)[0])).not.toEqual(idsOf(a));
  const unknown = group([observed("a", 1, { isRight: null })]);
  expect(choose([unknown], "right", null, 1)[0].observations).toEqual([]);
});

test("groups that were asked the same are paired, others are not", () => {
  const ids = ["a", "b", "c", "d"];
  const ours = group(
    ids.map((id, i) => observed(id, i + 1)),
    "ours",
  );
  const theirs = group(
    ids.map((id, i) => observed(id, i)),
    "theirs",
  );
  const [looks] = differencesOf(ours, theirs);
  expect(looks).toMatchObject({
    behaviour: "looks",
    by: "rules",
    difference: 1,
    ci95: [1, 1],
    paired: true,
    questions: [4, 4],
  });
  const others = group(
    ids.map((id, i) => observed(id, i, { question: "another" })),
    "others",
  );
  const [apart] = differencesOf(ours, others);
  expect(apart).toMatchObject({ difference: 1, paired: false, questions: [4, 4] });
  expect(apart.ci95?.[0]).toBeLessThan(0);
  expect(differencesOf(ours, group([]))).toEqual([]);
});

test("the judge's figures leave out what is unread, and say how far the rules agree", () => {
  const judged = (subgoals: number | null) => ({
    judged: { regions: 1, subgoals, verification: 0, backtracking: 0 },
  });
  const own = group([
    observed("a", 1, { ...judged(2), counts: counts({ subgoals: 1 }) }),
    observed("b", 1, { ...judged(0), counts: counts({ subgoals: 0 }) }),
    observed("c", 1, { ...judged(0), counts: counts({ subgoals: 3 }) }),
    observed("d", 1, { ...judged(null), counts: counts({ subgoals: 3 }) }),
  ]);
  const { judge } = figuresOf(own);
  expect(judge?.figures.subgoals).toMatchObject({ mean: 2 / 3, questions: 3 });
  expect(judge?.unread).toEqual({ regions: 0, subgoals: 1, verification: 0, backtracking: 0 });
  expect(judge?.agreement.subgoals.present).toBeCloseTo(2 / 3, 12);
  expect(judge?.agreement.verification).toEqual({ present: 1, alpha: null });
  const fewer = group([observed("a", 1, { ...judged(1) })], "fewer");
  const named = differencesOf(own, fewer).filter(({ by }) => by === "judge");
  expect(named.map(({ behaviour }) => behaviour)).toContain("subgoals");
});

test("thousands of questions take no longer than a few", () => {
  const big = (name: string, plus: number) =>
    group(
      Array.from({ length: 30_000 }, (_, i) => observed(`q${i}`, (i % 5) + plus)),
      name,
    );
  const [ours, theirs] = [big("ours", 1), big("theirs", 0)];
  const { mean: middle, ci95 } = figuresOf(ours).rules.looks ?? { mean: 0, ci95: null };
  expect(middle).toBeCloseTo(3, 12);
  expect(ci95?.[1]).toBeCloseTo(3 + (1.96 * Math.SQRT2) / Math.sqrt(30_000), 4);
  expect(differencesOf(ours, theirs)[0]).toMatchObject({ difference: 1, ci95: [1, 1] });
});
