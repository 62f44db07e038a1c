/** How a model is spoken to when somebody just asks it. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { settingsOf } from "./card-of-run.ts";
import { loadRecipe } from "./recipe.ts";
import { recipeFor, recipeToEvaluate } from "./recipe-of-model.ts";

const nano = new URL("../models/nano", import.meta.url).pathname;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-spoken-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("the nano model's own card says what the recipe of several looks says", async () => {
  const told = await recipeFor({ model: nano, overrides: [] });
  expect(settingsOf(told)).toEqual(settingsOf(loadRecipe("recipes/nano-looks.yaml", [])));
});

test("a model folder keeps its settings wherever it goes, and flags go before them", async () => {
  const copy = join(folder, "copy");
  cpSync(nano, copy, { recursive: true });
  const overrides = [{ path: "tools.zoom.outputPx", value: "56" }];
  const recipe = await recipeFor({ model: copy, overrides });
  expect(recipe.tools.zoom).toMatchObject({ windowPx: 8, outputPx: 56 });
  expect(recipe.prompts.style).toBe("nano");
});

test("an evaluation takes what its recipe leaves open, and says where it differs", async () => {
  const file = join(folder, "eval.yaml");
  writeFileSync(file, `engine: { model: ${nano} }\n`);
  const taken = await recipeToEvaluate(file, []);
  expect(taken.recipe.tools.zoom).toMatchObject({ windowPx: 8 });
  expect(taken.recipe.eval.temperature).toBe(0);
  expect(taken.notes).toHaveLength(1);
  expect(taken.notes[0]).toMatch(
    /^tools, episode, prompts, promptsNoTool: as .*vigorl\.json says$/,
  );
  writeFileSync(file, `engine: { model: ${nano} }\ntools: { zoom: { windowPx: 10 } }\n`);
  const other = await recipeToEvaluate(file, []);
  expect(other.recipe.tools.zoom).toMatchObject({ windowPx: 10 });
  expect(other.notes.at(-1)).toMatch(/^not as .*: tools\.zoom\.windowPx was 8, is 10/);
});
