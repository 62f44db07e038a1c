/** Recipes: the committed ones, changed as values and as text, and shapes that YAML is known for. */
import { readdirSync, readFileSync } from "node:fs";
import { parse, stringify } from "yaml";
import { loadRecipe } from "../../../src/recipe.ts";
import { mutateBytes, mutateValue } from "../mutate.ts";
import type { Target } from "../target.ts";

const folder = new URL("../../../recipes/", import.meta.url);
const texts = readdirSync(folder)
  .filter((name) => name.endsWith(".yaml") && name !== "nano-base.yaml")
  .map((name) => readFileSync(new URL(name, folder), "utf8"));

const bomb = ["a0: &a0 [x, x, x]"];
for (let i = 1; i < 40; i++)
  bomb.push(`a${i}: &a${i} [*a${i - 1}, *a${i - 1}, *a${i - 1}, *a${i - 1}]`);
const odd = [
  bomb.join("\n"),
  "[".repeat(50_000),
  `${"a: {".repeat(20_000)}`,
  "? [a]\n: b",
  "!!js/function x",
  "--- a\n--- b",
  "a: &a\n  b: *a",
  "__proto__: {polluted: 1}",
  "seed: 99999999999999999999",
];

export const recipe: Target = {
  name: "recipe",
  extension: ".yaml",
  input: (random) => {
    if (random.chance(0.05)) return Buffer.from(random.pick(odd));
    const text = random.pick(texts);
    if (random.chance(0.4)) return mutateBytes(Buffer.from(text), random);
    return Buffer.from(stringify(mutateValue(parse(text), random)));
  },
  run: (file) => Promise.resolve().then(() => loadRecipe(file, [])),
};
