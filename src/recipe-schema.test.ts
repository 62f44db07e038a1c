/** The schema that editors read is the one that recipes are checked with. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { recipeJsonSchema, recipeKeys } from "./recipe-schema.ts";

const recipes = new URL("../recipes", import.meta.url).pathname;

test("recipes/recipe.schema.json is up to date (node --import tsx scripts/recipe-docs.ts)", () => {
  const file = readFileSync(join(recipes, "recipe.schema.json"), "utf8");
  expect(JSON.parse(file)).toEqual(JSON.parse(JSON.stringify(recipeJsonSchema())));
});

test("it knows every key of our recipes, and requires none", () => {
  const known = new Set(recipeKeys().map(({ path }) => path.split(".")[0]));
  const files = readdirSync(recipes).filter(
    (name) => name.endsWith(".yaml") && !/base|ablations/.test(name),
  );
  expect(files.length).toBeGreaterThan(0);
  for (const name of files) {
    const text = readFileSync(join(recipes, name), "utf8");
    const keys = Object.keys(parse(text) as object);
    expect([name, keys.filter((key) => !known.has(key))]).toEqual([name, []]);
  }
  expect(JSON.stringify(recipeJsonSchema())).not.toContain('"required"');
});

test("keys come with their meaning and default, those of a union once", () => {
  const keys = recipeKeys(["rl", "engine"]);
  const find = (path: string) => keys.find((key) => key.path === path);
  expect(find("rl.groupSize")).toMatchObject({ usual: expect.stringMatching(/^\d+$/) as string });
  expect(find("engine.model")).toBeDefined();
  expect(new Set(keys.map(({ path }) => path)).size).toBe(keys.length);
  expect(keys.every(({ path }) => /^(rl|engine)\./.test(path))).toBe(true);
});
