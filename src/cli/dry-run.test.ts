import { expect, test } from "vitest";
import { loadRecipe } from "../recipe.ts";
import { dryRun } from "./dry-run.ts";

test("a recipe is weighed without being run", async () => {
  const recipe = loadRecipe("recipes/nano.yaml", []);
  const { json, text, code } = await dryRun(recipe, "rl");
  expect(code).toBe(0);
  expect(text).toMatch(/GiB {2}weights\n[^]*moments and masters\n[^]*together; cpu has/);
  const sampling = await dryRun(recipe, "sample");
  expect(sampling.json.totalBytes).toBeLessThan(json.totalBytes as number);
});
