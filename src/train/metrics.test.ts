import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { rewardConfigSchema, rewardTerms, scoreEpisode } from "../task/reward.ts";
import { metricTable } from "./metrics.ts";

const names = Object.keys(rewardTerms);
const source = new URL("../", import.meta.url).pathname;

test.each(names)("the term %s has its metric, and a recipe can give it a weight", (name) => {
  expect(metricTable).toHaveProperty([`reward/${name}`]);
  const unseen = { response: "", answer: "red", points: [], toolUses: [], turns: [] };
  const { terms, total } = scoreEpisode(
    { ...unseen, wellFormed: true, tools: [], view: null },
    { kind: "text", answer: "red" },
    rewardConfigSchema.parse({ profile: "repo", weights: { [name]: 0.25 } }),
  );
  expect(terms[name]).toBeGreaterThanOrEqual(0);
  expect(total).toBe(Object.values(terms).reduce((a, b) => a + b, 0));
});

test("terms are named in their table and in their files alone", () => {
  const elsewhere = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => {
    if (!file.endsWith(".ts") || file.endsWith(".test.ts") || /^task\/rewards?[./]/.test(file))
      return false;
    const text = readFileSync(join(source, file), "utf8");
    return names.some((name) => text.includes(`reward/${name}`) || text.includes(`terms.${name}`));
  });
  expect(elsewhere).toEqual([]);
});
