import { expect, test } from "vitest";
import type { Piece } from "./pieces.ts";
import { PipelineClock } from "./pipeline-clock.ts";
import { loadRecipe } from "./recipe.ts";

const recipe = loadRecipe("recipes/nano.yaml", []);
const piece = (kind: Piece["kind"], count: number): Piece => ({
  stage: kind,
  kind,
  count,
  unit: "steps",
  isBound: false,
  recipe,
});
const parts = [
  { name: "search", pieces: [piece("search", 10)] },
  { name: "a", pieces: [piece("rl", 10)] },
  { name: "b", pieces: [piece("rl", 30)] },
  { name: "eval", pieces: [piece("eval", 640), piece("eval", 640)] },
];

test("nothing is said of the time left before two pieces are done", () => {
  const clock = new PipelineClock(parts);
  expect(clock.begin()).toEqual({ count: "1/4", left: "" });
  clock.end("search", 100);
  expect(clock.begin()).toEqual({ count: "2/4", left: "" });
});

test("work of one sort is told by its like, other work by the average reply", () => {
  const clock = new PipelineClock(parts);
  clock.end("search", 7);
  clock.end("a", 20);
  // 10 trees of 1 + 6 simulations in 7 s, 10 steps of 16 × 8 in 20 s; three times as many are left.
  const perReply = 27 / (10 * 7 + 10 * 128);
  expect(clock.secondsLeft()).toBeCloseTo(60 + 1280 * perReply, 9);
  clock.end("b", 60);
  clock.end("eval", 5);
  expect(clock.secondsLeft()).toBe(0);
  expect(clock.begin().left).toBe(" · about 0 s left in all");
});
