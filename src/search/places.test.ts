import { describe, expect, test } from "vitest";
import { answerStep, thought, zoomStep } from "./fixtures/small-tree.ts";
import { repeatOf, sameAnswer } from "./places.ts";

const near = { repeats: "near", repeatRadiusPx: 5 } as const;
const written = { repeats: "written", repeatRadiusPx: 5 } as const;

describe("near", () => {
  test("a step is dropped at a place of its way, or where a sibling looks", () => {
    expect(repeatOf(zoomStep("b", 22, 23), [zoomStep("a", 20, 20)], [], near)).toBe("samePlace");
    expect(repeatOf(zoomStep("b", 25, 20), [zoomStep("a", 20, 20)], [], near)).toBeNull();
    expect(repeatOf(zoomStep("b", 22, 23), [], [zoomStep("a", 20, 20)], near)).toBe("samePlace");
    expect(repeatOf(thought("b", 22, 23), [], [thought("a", 20, 20)], near)).toBe("samePlace");
    expect(repeatOf(thought("a", 20, 20), [], [thought("a", 20, 20)], near)).toBe("sameText");
  });

  test("a thought that adds a place to a known one is new", () => {
    const both = {
      ...thought("a", 20, 20),
      points: [
        { picture: 0, x: 20, y: 20 },
        { picture: 0, x: 80, y: 80 },
      ],
    };
    expect(repeatOf(both, [thought("a", 20, 20)], [], near)).toBeNull();
    expect(repeatOf(both, [], [thought("c", 20, 20)], near)).toBeNull();
    expect(repeatOf(thought("b", 81, 80), [both], [], near)).toBe("samePlace");
  });

  test("the same place on another picture is another place", () => {
    const second = { ...thought("b", 20, 20), points: [{ picture: 1, x: 20, y: 20 }] };
    expect(repeatOf(second, [thought("a", 20, 20)], [], near)).toBeNull();
  });

  test("answers are compared with answers only", () => {
    expect(repeatOf(answerStep("Red "), [], [answerStep("red")], near)).toBe("sameAnswer");
    expect(
      repeatOf(answerStep("red"), [answerStep("red")], [thought("red", 1, 1)], near),
    ).toBeNull();
    expect(sameAnswer("(10, 20)", "(12,21)", 5)).toBe(true);
    expect(sameAnswer("(10, 20)", "(20, 21)", 5)).toBe(false);
    expect(sameAnswer("(10, 20)", "(10, 20)", 0)).toBe(true);
  });
});

test("as written: any coordinate of the way, no matter how near, and siblings do not count", () => {
  const path = [thought("a", 20, 20)];
  expect(repeatOf(thought("b", 21, 20), path, [], written)).toBeNull();
  expect(repeatOf(thought("b ( 20 ,20 )", 0, 0), path, [], written)).toBeNull();
  expect(repeatOf(thought("b (7, 7)", 0, 0), path, [], written, "Not at (7, 7)?")).toBe(
    "samePlace",
  );
  expect(repeatOf(thought("b (20, 20) and (90, 90)", 0, 0), path, [], written)).toBe("samePlace");
  expect(repeatOf(thought("a", 20, 20), [], [thought("a", 20, 20)], written)).toBeNull();
  expect(repeatOf(answerStep("(20, 20)"), path, [answerStep("(20, 20)")], written)).toBeNull();
});
