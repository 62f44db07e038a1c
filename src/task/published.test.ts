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
