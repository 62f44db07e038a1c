/**
 * The published rewards and judges, held to a restatement of their rules in Python
 * (`scripts/fixtures/published_rewards.py`, which wrote the fixture).
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { z } from "zod";
import { parseIntsLiteral } from "../text/python.ts";
import { pointInBbox, pointMatch, stringMatch, webActionJudge } from "./kinds/published-judges.ts";
import { rewardConfigSchema, scoreEpisode } from "./reward.ts";

const box = z.tuple([z.number(), z.number(), z.number(), z.number()]);
const fixture = z
  .object({
    literals: z.array(
      z.tuple([
        z.string(),
        z.tuple([z.enum(["tuple", "list", "set"]), z.array(z.number())]).nullable(),
      ]),
    ),
    judges: z.array(
      z.tuple([z.enum(["string", "box", "point", "action"]), z.string(), z.string(), z.boolean()]),
    ),
    rewards: z.array(
      z.tuple([
        z.enum(["single", "vanilla", "multi"]),
        z.enum(["point", "text", "action"]),
        z.union([z.string(), box]),
        z.string(),
        z.number(),
        z.number(),
        z.number(),
      ]),
    ),
  })
  .parse(JSON.parse(readFileSync(new URL("fixtures/published.json", import.meta.url), "utf8")));

test("literals are taken as Python takes them", () => {
  const read = (text: string) => {
    const literal = parseIntsLiteral(text);
    return literal === null ? null : [literal.kind, literal.values];
  };
  expect(fixture.literals.map(([text]) => [text, read(text)])).toEqual(fixture.literals);
});

test("judges", () => {
  const judges = {
    string: stringMatch,
    box: pointInBbox,
    point: pointMatch,
    action: webActionJudge,
  };
  expect(
    fixture.judges.map(([name, truth, answer]) => [
      name,
      truth,
      answer,
      judges[name](truth, answer),
    ]),
  ).toEqual(fixture.judges);
});

test("rewards: total, form and accuracy", () => {
  const rounded = (value: number) => Math.round(value * 1e9) / 1e9;
  const scored = fixture.rewards.map(([turns, kind, truth, response]) => {
    const canZoom = turns === "multi";
    const answer =
      typeof truth === "string"
        ? truth
        : { box: [truth[0], truth[1], truth[2] + 1, truth[3] + 1] as const };
    const config = rewardConfigSchema.parse({ profile: "repo", grounded: turns !== "vanilla" });
    const { total, accuracy, terms } = scoreEpisode(
      { ...unseen, response, tools: canZoom ? ["zoom"] : [] },
      { kind, answer },
      config,
    );
    const form = (terms.format + terms.distinct) / (canZoom ? 0.4 : 0.5);
    return [turns, kind, truth, response, ...[total, form, accuracy].map(rounded)];
  });
  expect(scored).toEqual(fixture.rewards);
});

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
