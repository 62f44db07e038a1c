/** The published rewards and judges where they surprise; test/published holds them to hundreds more. */
import { expect, test } from "vitest";
import { pointInBbox, pointMatch, stringMatch, webActionJudge } from "./kinds/published-judges.ts";
import { rewardConfigSchema, scoreEpisode } from "./reward.ts";

/** What a published reward does not look at. */
const unseen = {
  answer: null,
  points: [],
  toolUses: [],
  turns: [],
  wellFormed: false,
  view: null,
} as const;

/** What the published functions themselves gave when they were run on these inputs, at commit e7970c0. */
test("vectors that the published code was run on", () => {
  const rewardOf = (
    turns: "single" | "multi",
    kind: "point" | "text" | "action",
    truth: string | readonly [number, number, number, number],
    response: string,
  ) => {
    const answer =
      typeof truth === "string"
        ? truth
        : { box: [truth[0], truth[1], truth[2] + 1, truth[3] + 1] as const };
    const config = rewardConfigSchema.parse({ profile: "repo", grounded: true });
    const tools = turns === "multi" ? ["zoom" as const] : [];
    const { total, accuracy } = scoreEpisode(
      { ...unseen, response, tools },
      { kind, answer },
      config,
    );
    return [total, accuracy].map((value) => Math.round(value * 1e9) / 1e9);
  };
  const far = [1000, 1000, 1001, 1001] as const;
  expect(rewardOf("multi", "text", "b", "<think></think><answer>b\n</answer>")).toEqual([1, 1]);
  expect(
    rewardOf("single", "point", far, "<think>(7, 9)</think><answer>(0, 6)\n</answer>"),
  ).toEqual([0.5, 0]);
  expect(rewardOf("single", "text", "b", "<think>(7, 9)</think><answer>\n</answer>")).toEqual([
    0, 0,
  ]);
  expect(rewardOf("multi", "text", "b", "<think></think><ANSWER>b</answer>")).toEqual([0.6, 1]);
  const all = "[0, 0, 9999, 9999]";
  expect(pointInBbox(all, "(084, 52)")).toBe(false);
  expect(pointInBbox(all, "((779, 66))")).toBe(true);
  expect(pointInBbox("[7, 7, 35, 56]", "(36, 57)")).toBe(false);
  expect(stringMatch("left\n", "upper left")).toBe(true);
  expect(pointMatch("(53, 529)", "[53, 529]")).toBe(false);
  expect(webActionJudge("click [12]", " click [12]")).toBe(true);
});
