import { expect, test } from "vitest";
import { selectEpisodes } from "./batch.ts";
import { scored } from "./fixtures/scored.ts";
import { IdleWatch } from "./idle-watch.ts";
import { episodeMetrics, type ScoredEpisode } from "./rollouts.ts";

const config = { advantage: "centred", zeroVariance: "drop", overlong: "exclude" } as const;

function noter(maxSteps: number) {
  const watch = new IdleWatch("rl", maxSteps);
  const note = (step: number, group: ScoredEpisode[]) =>
    watch.note(step, group, selectEpisodes([group], config));
  return { watch, note };
}

const flat = [
  scored(0, "complete", { response: "a fish", wellFormed: false }),
  scored(0, "complete", { response: "a bird", wellFormed: false }),
  scored(0, "complete", { response: "a bird", wellFormed: false }),
  scored(0, "complete", { response: "a cat", wellFormed: false }),
  scored(0, "complete", { response: "a dog", wellFormed: false }),
];
const useful = [scored(1), scored(0)];

test("a run that learns nothing for so many steps ends, and says what was asked and replied", () => {
  const { note } = noter(3);
  note(1, flat);
  note(2, flat);
  note(3, useful);
  note(4, flat);
  note(5, flat);
  const stop = (): void => note(6, flat);
  expect(stop).toThrow(
    expect.objectContaining({
      code: "input",
      message: [
        "rl: step 6: nothing to learn from for 3 steps in a row",
        '  asked: "What is it?" (r)',
        '  reply: "a fish" (answered, reward 0)',
        '  reply: "a bird" (answered, reward 0)',
        '  reply: "a cat" (answered, reward 0)',
      ].join("\n"),
      hint: expect.stringContaining("not in the form") as string,
    }),
  );
});

test("likely causes: cut off, already right, or all alike", () => {
  const hint = (group: ScoredEpisode[]): string => {
    try {
      noter(1).note(1, group);
    } catch (error) {
      return (error as { hint: string }).hint;
    }
    return "";
  };
  expect(hint([scored(0, "cutOff"), scored(0, "cutOff")])).toContain("cut off");
  expect(hint([scored(1), scored(1)])).toContain("harder");
  expect(hint([scored(0), scored(0)])).toContain("no answer is right");
  expect(hint([scored(0.5), scored(0.5)])).toContain("groupSize");
});

test("a whole run without a lesson never ends well", () => {
  const idle = noter(9);
  idle.note(1, flat);
  expect(() => idle.watch.requireSome(0, true)).toThrow("nothing was learned");
  expect(() => idle.watch.requireSome(4, true)).toThrow("nothing was learned");
  expect(() => idle.watch.requireSome(4, false)).not.toThrow();
  const fine = noter(9);
  fine.note(1, useful);
  expect(() => fine.watch.requireSome(1, true)).not.toThrow();
});

test("several tasks have rewards of their own", () => {
  const mixed = [scored(1, "complete", { task: "click" }), scored(0, "complete", { task: "read" })];
  expect(episodeMetrics(mixed, 10)).toMatchObject({
    reward: 0.5,
    "task/click/reward": 1,
    "task/read/accuracy": 0,
  });
  expect(
    Object.keys(episodeMetrics(useful, 10)).filter((name) => name.startsWith("task/")),
  ).toEqual([]);
});
