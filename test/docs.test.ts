/** Pages that are written from the code are up to date, and links between pages lead somewhere. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";
import { benchmarkPage } from "../scripts/benchmark-page.ts";
import { metricPage } from "../scripts/metric-page.ts";
import { recipePage } from "../scripts/recipe-page.ts";
import { loadRecipe } from "../src/recipe.ts";

const root = resolve(import.meta.dirname, "..");
const pages = [
  "README.md",
  ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`),
].filter((name) => name.endsWith(".md"));

test("docs/recipes.md is what scripts/recipe-docs.ts writes", async () => {
  expect(readFileSync(join(root, "docs/recipes.md"), "utf8")).toBe(await recipePage());
});

test("docs/metrics.md is what scripts/recipe-docs.ts writes", async () => {
  expect(readFileSync(join(root, "docs/metrics.md"), "utf8")).toBe(await metricPage());
});

test("docs/benchmarks.md is what scripts/recipe-docs.ts writes", async () => {
  expect(readFileSync(join(root, "docs/benchmarks.md"), "utf8")).toBe(await benchmarkPage());
});

test.each(pages)("%s links to files that are there", (page) => {
  const text = readFileSync(join(root, page), "utf8");
  const targets = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map((match) => match[1]);
  const missing = targets.filter((target) => !existsSync(join(root, dirname(page), target)));
  expect(missing).toEqual([]);
});

test.each(["recipes/nano.yaml", "recipes/nano-full.yaml"])("%s is valid", (file) => {
  const recipe = loadRecipe(join(root, file), []);
  expect(recipe.data.heldout.every((source) => (source.count ?? 0) >= 500)).toBe(true);
});
