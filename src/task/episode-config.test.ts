import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { episodeSettingsSchema, loadEpisodeConfig } from "./episode-config.ts";

const tokenizer = new URL("../text/fixtures/tokenizer", import.meta.url).pathname;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-config-"));
  await cp(tokenizer, folder, { recursive: true });
  await write("preprocessor_config.json", { min_pixels: 3136, max_pixels: 50_176 });
  await write("config.json", { model_type: "qwen2_5_vl" });
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function write(name: string, value: object): Promise<void> {
  await writeFile(join(folder, name), JSON.stringify(value));
}

const settings = (value: object) => episodeSettingsSchema.parse(value);

test("an empty section is a whole one: the tool, its prompts, the folder's pixels", async () => {
  const config = await loadEpisodeConfig(folder);
  expect(config.tools.map(({ key }) => key)).toEqual(["zoom"]);
  expect(config.tools[0].settings).toMatchObject({ windowPx: 364, outputPx: 672 });
  expect(config.limits).toMatchObject({ maxTurns: 5, maxToolImages: 4 });
  expect(config.budget).toEqual({ minPixels: 3136, maxPixels: 50_176 });
  expect(config.coordinates).toBe("resized");
  expect(config.promptsFor("text").system).toContain("search_coordinate");
});

test("without the tool the prompts do not speak of it", async () => {
  const config = await loadEpisodeConfig(folder, settings({ tools: {} }));
  expect(config.promptsFor("point").system).not.toContain("tool_call");
});

test.each([
  ["qwen2_vl", "relative"],
  ["qwen3_vl", "relative"],
  ["qwen2_5_vl", "resized"],
])("%s writes %s coordinates", async (type, coordinates) => {
  await write("config.json", { model_type: type });
  expect((await loadEpisodeConfig(folder)).coordinates).toBe(coordinates);
  const asked = settings({ coordinates: "resized" });
  expect((await loadEpisodeConfig(folder, asked)).coordinates).toBe("resized");
});

test("a recipe replaces single sentences and pixel bounds", async () => {
  const prompts = { style: "nano", questionSuffix: "Answer at once.", system: "Look." };
  const config = await loadEpisodeConfig(
    folder,
    settings({ prompts, image: { maxPixels: 12_544 } }),
  );
  expect(config.promptsFor("text")).toMatchObject({
    system: "Look.",
    questionSuffix: "Answer at once.",
    observation: "",
  });
  expect(config.budget).toEqual({ minPixels: 3136, maxPixels: 12_544 });
});

test("sentences for some kinds of question leave the others as they are", async () => {
  const prompts = { style: "nano", questionSuffix: "Answer at once.", kinds: ["number"] };
  const config = await loadEpisodeConfig(folder, settings({ prompts }));
  expect(config.promptsFor("number").questionSuffix).toBe("Answer at once.");
  expect(config.promptsFor("point").questionSuffix).toBe("");
});

test("what is missing or contradicts is named", async () => {
  const whole = settings({ answerForm: "whole" });
  await expect(loadEpisodeConfig(folder, whole)).rejects.toThrow(/answerForm/);
  await rm(join(folder, "preprocessor_config.json"));
  await expect(loadEpisodeConfig(folder)).rejects.toThrow(/preprocessor_config\.json is missing/);
  expect(() => settings({ tools: { zoom: { window: 5 } } })).toThrow(/window/);
  expect(() => settings({ tools: { zoon: {} } })).toThrow(/zoon/);
  await write("preprocessor_config.json", { min_pixels: 3136, max_pixels: 50_176 });
  const upsideDown = settings({ image: { minPixels: 50_000, maxPixels: 20_000 } });
  await expect(loadEpisodeConfig(folder, upsideDown)).rejects.toThrow(/minPixels 50000 is above/);
});
