/** Pages that are written from the code are up to date, and links between pages lead somewhere. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";
import { benchmarkPage } from "../scripts/benchmark-page.ts";
import { metricPage } from "../scripts/metric-page.ts";
import { gigabytesOf, loraOnCard, withSizes } from "../scripts/model-sizes.ts";
import { configOf, numParametersOf, sizes } from "../scripts/published-sizes.ts";
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

test("the sizes in docs/models.md are what scripts/recipe-docs.ts writes", () => {
  const page = readFileSync(join(root, "docs/models.md"), "utf8");
  // Columns are padded there.
  const plain = (text: string) => text.replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---");
  expect(plain(page)).toBe(plain(withSizes(page)));
});

test("published sizes have as many parameters as were published", () => {
  const counts = new Map(sizes.map((size) => [size.name, numParametersOf(configOf(size))]));
  expect(counts.get("Qwen2-VL-2B")).toBe(2_208_985_600);
  expect(counts.get("Qwen2.5-VL-72B")).toBe(73_410_777_344);
  expect(counts.get("Qwen3-VL-30B-A3B")).toBe(31_070_754_032);
  expect(counts.get("Qwen3.5-0.8B")).toBe(852_985_920);
  expect(counts.get("Qwen3.5-27B")).toBe(27_356_728_560);
  expect(counts.get("Qwen2.5-VL-3B, ViGoRL-3B")).toBe(3_754_622_976);
  expect(counts.get("Qwen2.5-VL-32B")).toBe(33_452_718_336);
  expect(counts.get("Qwen3-VL-4B")).toBe(4_437_815_808);
  expect(counts.get("Qwen3-VL-8B")).toBe(8_767_123_696);
});

const vigorl = ["visual-search", "spatial", "web-grounding", "web-action", "lora-24gb"];
test.each(vigorl)("recipes/vigorl-3b-%s.yaml resolves to the published numbers", (name) => {
  const file = join(root, `recipes/vigorl-3b-${name}.yaml`);
  const { rl, tools, prompts, data, lora } = loadRecipe(file, []);
  const several = ["visual-search", "lora-24gb"].includes(name);
  expect(Object.keys(tools)).toEqual(several ? ["zoom"] : []);
  expect(rl).toMatchObject({ groupSize: several ? 8 : 5, klCoef: 0.01, trainable: "language" });
  expect(rl).toMatchObject({ clipLow: 0.2, clipHigh: 0.28, steps: 500 });
  expect(prompts.system).toBeNull();
  expect([data.train.length > 0, data.heldout.length > 0]).toEqual([true, true]);
  const multi = loadRecipe(file, [{ path: "profile", value: "repo-multi" }]);
  expect(Object.keys(multi.tools)).toEqual(["zoom"]);
  if (lora === null) expect([rl.learningRate, rl.promptsPerStep]).toEqual([1e-6, 128]);
  else {
    const size = sizes.find((one) => one.name.startsWith("Qwen2.5-VL-3B"))!;
    expect(gigabytesOf(configOf(size), loraOnCard)).toBeLessThan(22);
  }
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
