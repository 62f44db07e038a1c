import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { folderRecipe } from "./folder-recipe.ts";
import { recipeFor, recipeToEvaluate } from "./recipe-of-model.ts";

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "vigorl-folder-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, value: unknown) =>
  writeFileSync(join(folder, name), JSON.stringify(value));
const asked = (...overrides: { path: string; value: string }[]) => {
  const notes: string[] = [];
  write("config.json", {});
  return recipeFor({ model: folder, overrides }, (note) => notes.push(note)).then((recipe) => ({
    recipe,
    notes,
  }));
};

test("the folder's own sampling is taken, and a flag goes before it", async () => {
  write("generation_config.json", {
    do_sample: true,
    temperature: 0.7,
    top_p: 0.8,
    top_k: 20,
    repetition_penalty: 1.0,
    eos_token_id: [1, 2],
  });
  const { recipe, notes } = await asked();
  expect(recipe.eval).toMatchObject({ temperature: 0.7, topP: 0.8, topK: 20 });
  expect(notes).toEqual(["sampling of generation_config.json: temperature 0.7, topP 0.8, topK 20"]);
  const cold = await asked({ path: "eval.temperature", value: "0" });
  expect(cold.recipe.eval).toMatchObject({ temperature: 0, topP: 0.8 });
});

test("an evaluation takes it, and what its recipe writes goes before it", async () => {
  for (const name of ["config", "tokenizer", "tokenizer_config"]) write(`${name}.json`, {});
  write("generation_config.json", { do_sample: true, temperature: 0.7, top_p: 0.8, top_k: 20 });
  const evaluated = (own: object) => {
    write("recipe.yaml", { engine: { model: folder }, ...own });
    return recipeToEvaluate(join(folder, "recipe.yaml"), []);
  };
  const { recipe, notes } = await evaluated({});
  expect(recipe.eval).toMatchObject({ temperature: 0.7, topP: 0.8, topK: 20 });
  expect(notes).toEqual(["sampling of generation_config.json: temperature 0.7, topP 0.8, topK 20"]);
  const written = await evaluated({ eval: { temperature: 1, topK: 0 } });
  expect(written.recipe.eval).toMatchObject({ temperature: 1, topP: 0.8, topK: 0 });
  expect(written.notes).toEqual(["sampling of generation_config.json: topP 0.8"]);
});

test("what cannot be honoured is named", async () => {
  write("generation_config.json", { do_sample: false, repetition_penalty: 1.05, num_beams: 4 });
  const { recipe, notes } = await asked();
  expect(recipe.eval.temperature).toBe(0);
  expect(notes).toEqual([
    "sampling of generation_config.json: temperature 0",
    "generation_config.json: not honoured here: repetition_penalty 1.05, num_beams 4",
  ]);
});

test("a folder that says nothing changes nothing", async () => {
  expect(await folderRecipe(folder)).toEqual({ recipe: {}, notes: [] });
  write("generation_config.json", { eos_token_id: 3, max_new_tokens: 2048 });
  expect(await folderRecipe(folder)).toEqual({ recipe: {}, notes: [] });
  write("generation_config.json", { temperature: "hot" });
  await expect(folderRecipe(folder)).rejects.toThrow("generation_config.json: temperature");
});

test("a released ViGoRL model keeps the system message of its template", async () => {
  const template = "{{ 'Use search_coordinate, then <answer>' }}";
  write("chat_template.json", { chat_template: template });
  write("generation_config.json", { do_sample: true, temperature: 0.000001 });
  const { recipe, notes } = await asked();
  expect(recipe.prompts.system).toBeNull();
  expect(recipe.eval).toMatchObject({ temperature: 0.5, topP: 1 });
  expect(recipe.episode).toMatchObject({ maxTurns: 5, maxTokensPerTurn: 512 });
  expect(recipe.image).toMatchObject({ minPixels: 3136, maxPixels: 12_960_000 });
  expect(Object.keys(recipe.tools)).toEqual(["zoom"]);
  expect(notes).toHaveLength(1);
});
