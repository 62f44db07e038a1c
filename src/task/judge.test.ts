import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { judgeRepo, pointInBbox, pointMatch, stringMatch, webActionJudge } from "./judge-repo.ts";
import { judge, parseAction } from "./judge.ts";
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

test("no answer is wrong", () => {
  expect(judge(text("x"), null)).toBe(0);
});

const box: Question = { kind: "point", answer: { box: [50, 60, 70, 80] } };

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

test("any answer at all gets 0 or 1", () => {
  const records = [text("a"), number("1"), choice("a", "a", "b"), action("go_back"), box];
  fc.assert(
    fc.property(fc.constantFrom(...records), fc.string(), (record, answer) => {
      for (const profile of ["default", "repo"] as const)
        expect([0, 1]).toContain(judge(record, answer, { profile }));
    }),
  );
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
    expect(judgeRepo(record, "(2, 7)", view)).toBe(1);
    expect(judgeRepo(record, "(8, 8)", view)).toBe(0);
  });
});
