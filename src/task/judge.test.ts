import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { judge, judgeProfiles } from "./judge.ts";
import { kindNames, truthProblem } from "./kinds.ts";
import { parseAction } from "./kinds/action.ts";
import { pointInBbox, pointMatch, stringMatch, webActionJudge } from "./kinds/published-judges.ts";
import { fold } from "./kinds/readings.ts";
import type { TaskRecord } from "./record.ts";
import type { AnswerView } from "./trajectory.ts";

type Question = Pick<TaskRecord, "kind" | "answer" | "choices">;
const text = (answer: string): Question => ({ kind: "text", answer });
const number = (answer: string): Question => ({ kind: "number", answer });
const action = (answer: string): Question => ({ kind: "action", answer });
const choice = (answer: string, ...choices: string[]): Question => ({
  kind: "choice",
  answer,
  choices,
});

const box: Question = { kind: "point", answer: { box: [50, 60, 70, 80] } };

describe("right and wrong, by our rules", () => {
  test.each<[Question, string, number]>([
    [text("Red"), " red. ", 1],
    [text("red star"), '"red  star"', 1],
    [text("no"), "cannot tell", 0],
    [text("left"), "upper-left", 0],
    [text("red"), "", 0],
    [number("7"), "7", 1],
    [number("7"), "7.0", 1],
    [number("1"), "10", 0],
    [number("1000"), "1,000", 1],
    [number("7"), "seven", 0],
    [number("7"), "", 0],
    [number("7"), "7 or 8", 0],
    [choice("right", "right", "left"), "right", 1],
    [choice("right", "right", "left"), "A", 1],
    [choice("right", "right", "left"), "(a)", 1],
    [choice("right", "right", "left"), "A. right", 1],
    [choice("right", "right", "left"), "A) Right.", 1],
    [choice("right", "right", "left"), "B. right", 0],
    [choice("right", "right", "left"), "left", 0],
    [choice("right", "right", "left"), "right or left", 0],
    [choice("B", "black", "white"), "white", 1],
    [choice("A", "black", "white"), "(B) white", 0],
    [choice("B", "B", "A"), "B", 1],
    [{ kind: "choice", answer: "right" }, "A. right", 1],
    [action("click [12]"), "click [12]", 1],
    [action("click [12]"), "click [1]", 0],
    [action("type [3] [hi there]"), "type [3] [Hi there]", 1],
    [action("type [3] [hi there]"), "type [3] [hi there] [1]", 1],
    [action("type [3] [hi]"), "type [3] [bye]", 0],
    [action("scroll [down]"), "scroll [up]", 0],
    [action("stop [2]"), "stop [1]", 0],
    [action("stop []"), "stop []", 1],
    [action("go_back"), "go_back", 1],
    [action("go_back"), "I go_back", 0],
  ])("%j: %j → %d", (record, answer, expected) => {
    expect(judge(record, answer)).toBe(expected);
  });
});

const cases = z
  .record(
    z.string(),
    z.object({
      choices: z.array(z.string()).optional(),
      answer: z.string(),
      cases: z.array(z.tuple([z.string(), z.number().nullable()])),
    }),
  )
  .parse(JSON.parse(readFileSync(new URL("fixtures/answers.json", import.meta.url), "utf8")));

describe("right answers in other clothes, with the credit that a person would give", () => {
  const rows = Object.entries(cases).flatMap(([name, { choices, answer, cases: said }]) =>
    said.flatMap(([text, credit]) =>
      credit === null ? [] : [{ name, choices, answer, text, credit }],
    ),
  );
  test.each(rows)(
    "$name, truth $answer: $text → $credit",
    ({ name, text: said, credit, ...asked }) => {
      const record = { ...asked, kind: kindNames.find((kind) => name.startsWith(kind)) ?? "text" };
      expect(truthProblem(record)).toBeNull();
      expect(judge(record, said)).toBe(credit);
    },
  );

  const four = choice("right", "left", "right", "above", "below");
  test.each<[Question, string, number]>([
    [four, "\\boxed{\\text{B}}", 1],
    [four, "**Answer:** B", 1],
    [four, "**B**. right", 1],
    [four, "The answer is **B**.", 1],
    [four, "B is the correct answer.", 1],
    [four, "The correct option is (B)", 1],
    [four, "$B$", 1],
    [four, "\u201cright\u201d", 1],
    [four, "The answer is not B", 0],
    [four, "The wrong answer is B", 0],
    [four, "A B", 0],
    [four, "B, C", 0],
    [four, "B. left", 0],
    [four, "**A** or **B**", 0],
    [four, "B is not correct", 0],
    [four, "I cannot answer this", 0],
    [choice("B", "B", "A"), "A B", 0],
    [{ kind: "choice", answer: "A. right" }, "B. right", 0],
    [number("1250"), "1.25 \u00d7 10\u00b3", 1],
    [number("1250"), "USD 1,250", 1],
    [number("-5"), "\u22125", 1],
    [number("52"), "5\u00b2", 0],
    [number("52"), "5\u2082", 0],
    [number("52"), "5\u2461", 0],
    [number("11"), "1\u00bd", 0],
    [number("52"), "\ud835\udfd3\ud835\udfd0", 1],
    [text("H2O"), "H\u2082O", 1],
    [number("3"), "3 million", 0],
    [number("3"), "3k", 0],
    [number("5 km"), "5 m", 0],
    [number("5 km"), "5 kilometres", 1],
    [number("12345678901234567"), "12345678901234568", 0],
    [number("1250000000"), "1250000001", 0],
    [number("0.1"), "1e-1", 1],
    [text("__init__"), "`__init__`", 1],
    [text("__init__"), "init", 0],
    [text("no"), "The answer is **no**.", 1],
    [text("no"), "The answer is not known", 0],
    [text("?"), "!", 0],
    [action("click [12]"), "`click [12]`", 1],
    [action("click [12]"), "**Answer:** click [12]", 1],
    [action("click [12]"), "click [12] or click [13]", 0],
    [box, "**(55, 65)**", 1],
    [box, "The answer is \uff0855, 65\uff09.", 1],
    [box, "(55, 65) or (0, 0)", 0],
  ])("%j: %j → %d", (record, answer, credit) => {
    expect(judge(record, answer)).toBe(credit);
  });
});

test("no answer is wrong", () => {
  expect(judge(text("x"), null)).toBe(0);
});

test("points: half-open boxes, closed discs, nothing but a point", () => {
  expect(judge(box, "(50, 60)")).toBe(1);
  expect(judge(box, "(69, 79)")).toBe(1);
  expect(judge(box, "(70, 79)")).toBe(0);
  expect(judge(box, "55, 65")).toBe(0);
  expect(judge(box, "near (55, 65)")).toBe(0);
  const disc: Question = { kind: "point", answer: { point: [10, 10], radius: 5 } };
  expect(judge(disc, "(13, 14)")).toBe(1);
  expect(judge(disc, "(14, 14)")).toBe(0);
});

test("points are read in the model's frame", () => {
  const size = (widthPx: number, heightPx: number) => ({ widthPx, heightPx });
  const view: AnswerView = {
    original: size(400, 400),
    resized: size(100, 200),
    coordinates: "resized",
  };
  expect(judge(box, "(15, 35)", { view })).toBe(1);
  expect(judge(box, "(60, 70)", { view })).toBe(0);
  expect(judge(box, "(150, 175)", { view: { ...view, coordinates: "relative" } })).toBe(1);
});

const all: readonly Question[] = [
  text("red star"),
  number("1250"),
  choice("right", "left", "right"),
  choice("C", "left", "right", "above"),
  { kind: "choice", answer: "right" },
  action("type [3] [hi]"),
  action("go_back"),
  box,
  { kind: "point", answer: { point: [10, 10], radius: 5 } },
];

/** Pieces that answers are made of, and what could trip a reader. */
const piece = fc.oneof(
  fc.constantFrom(
    ..."()[]{}<>*_`$\\\"'.,:;!?-+^%|#/= \n\t\0\u2028\ud800\uff08\u0663\u00b2".split(""),
  ),
  fc.constantFrom(
    "answer is ",
    "Option ",
    "A",
    "b",
    "12",
    "1,000",
    "\\boxed{",
    "\\text{",
    "**",
    "or",
  ),
  fc.constantFrom(
    "click [",
    "type [",
    "scroll",
    "(1, 2)",
    "1e",
    "x10^",
    "€",
    " is correct",
    "not ",
  ),
  fc.string({ unit: "grapheme", maxLength: 3 }),
);
const hostile = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(""));

test("10,000 hostile answers get 0 or 1 from every judge", () => {
  fc.assert(
    fc.property(fc.constantFrom(...all), hostile, (record, answer) => {
      for (const profile of judgeProfiles)
        expect([0, 1]).toContain(judge(record, answer, { profile }));
    }),
    { numRuns: 10_000 },
  );
});

test("what does not say the answer is never right", () => {
  const silent = (answer: string) =>
    !/[\dB-Cb-c()\uff08\uff09]|right|red|go_back|type/u.test(fold(answer).toLowerCase());
  fc.assert(
    fc.property(fc.constantFrom(...all), hostile, (record, answer) => {
      fc.pre(silent(answer));
      expect(judge(record, answer)).toBe(0);
    }),
    { numRuns: 3000 },
  );
});

test("thirty thousand characters are read at once", () => {
  const long = ["(", "*", "answer: ", " ", "- ", "<", "\\boxed{", "1,000", "`a` ", "(1,"].map(
    (part) => part.repeat(30_000 / part.length),
  );
  const answers = long.flatMap((part) => [part, `A${part}`, `-${part}x`, `${part}B`]);
  for (const profile of judgeProfiles)
    for (const record of all)
      expect(answers.map((answer) => judge(record, answer, { profile }))).not.toContain(NaN);
});

test("an action is parsed whole or not at all", () => {
  expect(parseAction("type [5] [a [b] c]")).toEqual({ verb: "type", target: "5", text: "a [b] c" });
  for (const bad of ["click 12", "click [1] [2]", "hover [1]", ""])
    expect(parseAction(bad)).toBeNull();
});

describe("the published judges, vector by vector", () => {
  test.each([
    ["right", "A. right", true],
    ["A", "(B) black", true],
    ["no", "cannot tell", true],
    ["left", "upper-left", true],
    ["1", "10", true],
    ["", "anything", true],
    ["yes", "no", false],
  ])("string: truth %j, answer %j", (truth, answer, right) => {
    expect(stringMatch(truth, answer)).toBe(right);
  });

  test.each([
    ["type [3] [hi there]", "type [3] [hi there]", false],
    ["type [3] [hi]", "type [3] [bye]", true],
    ["scroll [down]", "scroll [up]", true],
    ["stop [1]", "stop [2]", true],
    ["click [12]", "click 12", true],
    ["click [123]", "click 12", true],
    ["click [12]", "click  [12]", false],
  ])("web action: truth %j, answer %j", (truth, answer, right) => {
    expect(webActionJudge(truth, answer)).toBe(right);
  });

  test.each([
    ["(10,10,20,20)", "(10, 20)", true],
    ["(10, 10, 20, 20)", "15, 15", true],
    ["(10, 10, 20, 20)", "(15.0, 15)", false],
    ["(10, 10, 20, 20)", "the point is (15, 15)", false],
    ["(10, 10, 20, 20)", "(21, 15)", false],
    ["(10, 10)", "(10, 10)", false],
  ])("box: truth %j, answer %j", (truth, answer, right) => {
    expect(pointInBbox(truth, answer)).toBe(right);
  });

  test("point: a distance of exactly 50 is too far", () => {
    expect(pointMatch("(0, 0)", "(30, 40)")).toBe(false);
    expect(pointMatch("(0, 0)", "(30, 39)")).toBe(true);
  });

  test("boxes move to the model's frame as ints, as the published evaluation does", () => {
    const record = { kind: "point", answer: { box: [5, 5, 15, 15] } } as const;
    const view: AnswerView = {
      original: { widthPx: 100, heightPx: 100 },
      resized: { widthPx: 50, heightPx: 50 },
      coordinates: "resized",
    };
    expect(judge(record, "(2, 7)", { profile: "repo", view })).toBe(1);
    expect(judge(record, "(8, 8)", { profile: "repo", view })).toBe(0);
  });

  test("boxes stay where the published frame is the image before its sides are rounded", () => {
    const record = { kind: "point", answer: { box: [1900, 1000, 1911, 1011] } } as const;
    const original = { widthPx: 1920, heightPx: 1080 };
    const resized = { widthPx: 1932, heightPx: 1092 };
    const moved: AnswerView = { original, resized, coordinates: "resized" };
    const kept: AnswerView = { ...moved, unrounded: original };
    expect(judge(record, "(1900, 1000)", { profile: "repo", view: kept })).toBe(1);
    expect(judge(record, "(1900, 1000)", { profile: "repo", view: moved })).toBe(0);
    expect(judge(record, "(1911, 1011)", { profile: "repo", view: moved })).toBe(1);
    expect(judge(record, "(1911, 1011)", { profile: "repo", view: kept })).toBe(0);
  });

  test("models that write thousandths are judged in thousandths", () => {
    const record = { kind: "point", answer: { box: [1000, 500, 1100, 600] } } as const;
    const view: AnswerView = {
      original: { widthPx: 2000, heightPx: 1000 },
      resized: { widthPx: 1988, heightPx: 1008 },
      unrounded: { widthPx: 2000, heightPx: 1000 },
      coordinates: "relative",
    };
    expect(judge(record, "(510, 550)", { profile: "repo", view })).toBe(1);
    expect(judge(record, "(1050, 550)", { profile: "repo", view })).toBe(0);
  });
});
