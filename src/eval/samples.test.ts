import fc from "fast-check";
import { expect, test } from "vitest";
import { stream } from "../core/random.ts";
import { meanInterval, wilsonInterval } from "../core/statistics.ts";
import type { TaskRecord } from "../task/record.ts";
import { compareOutcomes, comparisonRows } from "./compare-runs.ts";
import { armOf } from "./count.ts";
import type { Outcome } from "./outcome.ts";
import { reportMarkdown, reportText } from "./report.ts";
import { passAtK, sampleFactsOf, withVotes } from "./samples.ts";

const record = (kind: TaskRecord["kind"], answer: string, id = "q"): TaskRecord => ({
  id,
  images: [],
  question: "?",
  kind,
  answer,
});
/** One outcome a said answer; right where it equals `truth`. */
const said = (answers: readonly (string | null)[], truth: string, recordId = "q"): Outcome[] =>
  answers.map((answer, sample) => ({
    recordId,
    sample,
    category: null,
    score: answer === truth ? 1 : 0,
    answer,
    toolUses: 0,
    tokens: { written: 1, read: 1 },
    stopReason: answer === null ? "noAnswer" : "answered",
    error: null,
    reply: { text: answer ?? "", view: null },
  }));
const factsOf = (one: TaskRecord, answers: readonly (string | null)[], truth: string) =>
  sampleFactsOf(withVotes(one, said(answers, truth)));

test("pass@k is the share of all draws of k samples that hold a right one", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 9 }), fc.nat(), (right, at) => {
      const n = right.length;
      const k = 1 + (at % n);
      let [holds, draws] = [0, 0];
      for (let set = 0; set < 2 ** n; set++) {
        const drawn = right.filter((_, i) => (set >> i) % 2 === 1);
        if (drawn.length !== k) continue;
        draws++;
        if (drawn.includes(true)) holds++;
      }
      expect(passAtK(n, right.filter(Boolean).length, k)).toBeCloseTo(holds / draws, 12);
    }),
  );
  // Of many samples, no factorial overflows.
  expect(passAtK(1000, 1, 500)).toBeCloseTo(0.5, 9);
});

test("it does not depend on how many samples it is estimated from", () => {
  const rng = stream(5, "pass");
  let sum = 0;
  for (let i = 0; i < 20_000; i++) {
    const right = Array.from({ length: 10 }, () => rng.chance(0.2)).filter(Boolean).length;
    sum += passAtK(10, right, 3);
  }
  expect(sum / 20_000).toBeCloseTo(1 - 0.8 ** 3, 2);
});

test("the majority is of answers that say the same", () => {
  const options = { ...record("choice", "red"), choices: ["red", "blue"] };
  const votes = (one: TaskRecord, answers: readonly (string | null)[]) =>
    withVotes(one, said(answers, "")).map(({ vote }) => vote);
  expect(votes(options, ["A", "red", "(b)", "B. blue", null, "dunno", "a", " "])).toEqual([
    0,
    0,
    1,
    1,
    null,
    2,
    0,
    null,
  ]);
  expect(votes(record("number", "1250"), ["1,250", "1250.0", "1250 km", "7", "about 7"])).toEqual([
    0, 0, 0, 1, 2,
  ]);
  expect(votes(record("maths", "1/2"), ["\\frac{1}{2}", "0.5", "1/3"])).toEqual([0, 0, 1]);
  expect(votes(record("text", "x"), ["Red.", "red", "a red"])).toEqual([0, 0, 1]);
});

test("the majority decides, ties go to the answer that came first, silence has no vote", () => {
  const one = record("text", "x");
  const majority = (...answers: (string | null)[]) => factsOf(one, answers, "x")?.majority;
  expect(majority("y", "x", "x")).toMatchObject({ n: 1, accuracy: 1, ties: 0 });
  expect(majority("y", "x", "x", "y")).toMatchObject({ accuracy: 0, ties: 1 });
  expect(majority("x", "y", "y", "x")).toMatchObject({ accuracy: 1, ties: 1 });
  expect(majority(null, null, null, "x")).toMatchObject({ accuracy: 1, ties: 0 });
  expect(majority(null, null)).toMatchObject({ n: 1, accuracy: 0 });
  const place: TaskRecord = { ...one, kind: "point", answer: { box: [0, 0, 9, 9] } };
  expect(factsOf(place, ["(1, 1)", "(1, 2)"], "")?.majority).toBeNull();
  expect(factsOf(one, ["x"], "x")).toBeUndefined();
});

test("a protocol's own reading is what votes", () => {
  const outcomes = said(["so it is A", "it is A", "B"], "B").map((outcome, i): Outcome => {
    return { ...outcome, verdict: { read: ["A", "A", null][i], how: i < 2 ? "read" : "unread" } };
  });
  expect(withVotes(record("text", "x"), outcomes).map(({ vote }) => vote)).toEqual([0, 0, null]);
});

test("questions with fewer samples answered are in the figures of fewer", () => {
  const lost = said(["x", "x", "x", "y"], "x", "b").map((outcome, i): Outcome =>
    i < 2 ? { ...outcome, stopReason: "samplerError", error: "gone" } : outcome,
  );
  const whole = said(["y", "y", "x", "y"], "x", "a");
  const facts = sampleFactsOf([
    ...withVotes(record("text", "x", "a"), whole),
    ...withVotes(record("text", "x", "b"), lost),
  ]);
  expect(facts?.passAt.map(({ k, n, accuracy }) => [k, n, accuracy])).toEqual([
    [1, 2, 0.375],
    [2, 2, 0.75],
    [3, 1, 0.75],
    [4, 1, 1],
  ]);
});

test("an interval over questions: Wilson's for one sample each, and it holds what it says", () => {
  const bits = [1, 1, 0, 1, 0, 0, 0, 1, 1, 1];
  const [low, high] = meanInterval(bits, bits.length);
  expect(low).toBeCloseTo(wilsonInterval(6, 10)[0], 12);
  expect(high).toBeCloseTo(wilsonInterval(6, 10)[1], 12);
  expect(meanInterval([1, 1, 1], 12)).toEqual(wilsonInterval(3, 3));
  expect(meanInterval([0.5, 0.5], 8)).toEqual(wilsonInterval(4, 8));
  expect(meanInterval([], 0)).toEqual([0, 1]);
  const rng = stream(3, "coverage");
  let held = 0;
  for (let run = 0; run < 1000; run++) {
    const values = Array.from({ length: 40 }, () => {
      const p = rng.chance(0.5) ? 0.9 : 0.3;
      return Array.from({ length: 4 }, () => Number(rng.chance(p))).reduce((a, b) => a + b) / 4;
    });
    const [from, to] = meanInterval(values, 160);
    if (from <= 0.6 && 0.6 <= to) held++;
  }
  // 95 % of a thousand, and four standard deviations of seven on either side.
  expect(Math.abs(held - 950)).toBeLessThan(28);
});

const questions = Array.from({ length: 12 }, (_, i) => record("text", "x", `q${i}`));
const run = (right: (question: number, sample: number) => boolean, samples: number) =>
  questions.flatMap((question, q) => {
    const answers = Array.from({ length: samples }, (_, i) => (right(q, i) ? "x" : "y"));
    return withVotes(question, said(answers, "x", question.id));
  });

test("two runs of several samples are compared in the mean, at every k of both, and by majority", () => {
  const ours = run((_, i) => i % 2 === 0, 3);
  const theirs = run((q, i) => q < 6 && i === 0, 4);
  const found = compareOutcomes("t", ours, theirs);
  expect(found?.samples).toEqual([3, 4]);
  expect(found?.overall).toMatchObject({ accuracy: 2 / 3, against: 0.125 });
  expect(found?.passAt.map(({ k, accuracy, against }) => [k, accuracy, against])).toEqual([
    [1, 2 / 3, 0.125],
    [2, 1, 0.25],
    [3, 1, 0.375],
  ]);
  expect(found?.majority).toMatchObject({ n: 12, accuracy: 1, against: 0 });
  expect(found?.majority?.p).toBeCloseTo(2 ** -11, 12);
  const rows = comparisonRows(["a", "b"], found === null ? [] : [found]);
  expect(rows.map(([name]) => name)).toEqual([
    "questions",
    "t",
    "t: pass@1",
    "t: pass@2",
    "t: pass@3",
    "t: majority",
  ]);
  const once = run(() => true, 1).map(({ sample: _, ...rest }) => rest);
  expect(compareOutcomes("t", ours, once)).toMatchObject({ samples: [3, 1], passAt: [] });
});

test("every form of the report shows them", () => {
  const arm = armOf("model", "t", { outcomes: run((q, i) => (q + i) % 3 === 0, 3), seconds: 1 });
  const report = {
    version: 1 as const,
    title: "r",
    command: "c",
    createdAt: "d",
    facts: {},
    arms: [arm],
    comparisons: [],
    curves: [],
  };
  const header = ["arm", "task", "samples", "pass@1", "pass@2", "pass@3", "majority", "ties"];
  expect(reportMarkdown(report)).toContain(`| ${header.join(" | ")} |`);
  expect(reportText(report)).toMatch(new RegExp(header.join(" +")));
  expect(reportText(report)).toMatch(/model +t +3 +33\.3 % \(.*100\.0 % \(.*0\.0 % \(/);
});
