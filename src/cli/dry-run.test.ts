import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, test, vi } from "vitest";
import { loadRecipe } from "../recipe.ts";
import { parseConfig } from "../core/config.ts";
import { baseRecipeSchema } from "../nano/base-recipe.ts";
import { dryBase, dryRun } from "./dry-run.ts";

vi.setConfig({ testTimeout: 300_000 });

const { signal } = new AbortController();
const context = { signal, say: () => undefined };
const small = [
  ["data.train", "[{ nano: search, count: 40 }]"],
  ["data.heldout", "[{ nano: search, count: 20 }]"],
  ["search.run.records", "2"],
  ["search.simulations", "2"],
  ["rl.promptsPerStep", "4"],
  ["rl.groupSize", "4"],
  ["sft.batchSize", "4"],
  ["engine.threads", "1"],
].map(([path, value]) => ({ path, value }));
const recipe = loadRecipe("recipes/nano.yaml", small);
interface Told {
  readonly stage: string;
  readonly kind: string;
  readonly count: number;
  readonly isBound: boolean;
  readonly seconds: number | null;
  readonly from: number | string;
}
const trials = () => readdirSync(tmpdir()).filter((name) => name.startsWith("vigorl-trial-"));

test("a recipe is resolved, counted, weighed and timed without being run", async () => {
  const before = trials();
  const { json, text, code } = await dryRun(recipe, "rl", context, ["engine", "rl"]);
  expect(code).toBe(0);
  expect(text).toMatch(/^name: demo\nseed: 1\nengine:\n {2}kind: local\n {2}model: .*nano/);
  expect(text).not.toMatch(/^(search|eval):|auto/m);
  expect(text).toMatch(
    /\ntrain search: 40 questions, prompts of \d+ tokens \(\d+ at most, measured on 32\)/,
  );
  expect(text).toMatch(/GiB {2}weights\n[^]*moments and masters\n[^]*together; cpu has/);
  expect(text).toMatch(/\ndemo \(rl\): 100 steps, about .* \(2 timed\)\ntogether about /);
  expect(json.seconds).toBeGreaterThan(0);
  const sampling = await dryRun(recipe, "serve", context);
  expect(sampling.json.totalBytes).toBeLessThan(json.totalBytes as number);
  expect(trials()).toEqual(before);
  expect(existsSync("runs/demo")).toBe(false);
});

const published = readdirSync("recipes").filter((name) => name.startsWith("vigorl-3b-"));
test.each(published)("recipes/%s resolves, and says what does not fit", async (name) => {
  const standIn = loadRecipe(`recipes/${name}`, [
    { path: "engine.model", value: "models/nano" },
    { path: "data.train", value: "[{ nano: search, count: 4 }]" },
    // More than any machine has: then nothing is timed.
    { path: "engine.tokensPerMicroBatch", value: "1000000000" },
  ]);
  const { json, text, code } = await dryRun(standIn, "rl", context, ["engine", "lora", "rl"]);
  expect(code).toBe(2);
  expect(text).not.toMatch(/auto/m);
  expect(text).toMatch(/gradientCheckpointing: true\n[^]*\n {2}klCoef: 0\.01\n/);
  expect(text).toMatch(/\ntrain search: 4 questions, prompts of \d+ tokens/);
  expect(text).toMatch(/It does not fit\.[^]*\n {2}engine\.tokensPerMicroBatch\n/);
  expect(json.pieces).toMatchObject([{ count: 500, seconds: null, from: "does not fit" }]);
  const shares = json.shares as { what: string }[];
  const hasOwn = shares.some(({ what }) => what === "the adapter");
  expect(hasOwn).toBe(name.includes("lora"));
  expect(shares.some(({ what }) => what === "the reference")).toBe(!hasOwn);
});

test("a pipeline is the sum of its pieces", async () => {
  const { json, code } = await dryRun(recipe, "demo", context);
  expect(code).toBe(0);
  const pieces = json.pieces as Told[];
  expect(pieces.map(({ stage, kind, count }) => `${stage} ${kind} ${count}`)).toEqual([
    "search search 2",
    "sft-samples collect 160",
    "sft-samples sft 20",
    "sft sft 20",
    "rl-single rl 20",
    "rl-zoom rl 100",
    "rl-samples rl 100",
    ...["base", "sft", "sft-samples", "rl-single", "rl-samples", "rl-zoom"].map(
      (arm) => `${arm} eval 20`,
    ),
    ...["crop-blank", "crop-elsewhere", "no-tool", "no-image"].map((arm) => `${arm} eval 20`),
  ]);
  expect(pieces.filter(({ isBound }) => isBound).map(({ stage }) => stage)).toEqual([
    "sft-samples",
    "sft",
  ]);
  const seconds = pieces.map((piece) => piece.seconds);
  expect(seconds).not.toContain(null);
  expect(json.seconds).toBeCloseTo(
    seconds.reduce<number>((sum, one) => sum + one!, 0),
    6,
  );
  // Five times the steps of the same sort of question take longer.
  expect(seconds[5]).toBeGreaterThan(seconds[4]!);
});

test("what cannot be timed is said, and what it is about", async () => {
  const engine = { kind: "openai", url: "http://127.0.0.1:9", folder: "models/nano" };
  const elsewhere = loadRecipe("recipes/nano.yaml", [
    ...small,
    { path: "search.teacher", value: JSON.stringify(engine) },
  ]);
  const { json } = await dryRun(elsewhere, "search", context);
  expect(json.pieces).toMatchObject([
    { seconds: null, from: "an engine of kind openai: nothing is asked of a server" },
  ]);
  expect(json.seconds).toBeNull();
});

test("base training is timed stage by stage", async () => {
  const text =
    "tower: { steps: 40, batchSize: 2 }\nlookups: { steps: 10, batchSize: 2, poolSize: 8 }\nchats: { steps: 4, batchSize: 2 }\nlookalikes: { steps: 0 }\nhabits: { steps: 0 }\nlooks: { steps: 0 }\nverdicts: { steps: 0 }\ndrawers: 1";
  const base = parseConfig(text, "base.yaml", baseRecipeSchema);
  const { json } = await dryBase(base, {
    ...context,
    json: true,
    quiet: true,
    overrides: [],
    command: "",
  });
  const stages = json.stages as { name: string; steps: number; seconds: number }[];
  expect(stages.map(({ name, steps }) => `${name} ${steps}`)).toEqual([
    "tower 40",
    "lookups 10",
    "chats 4",
  ]);
  expect(json.seconds).toBeCloseTo(
    stages.reduce((sum, stage) => sum + stage.seconds, 0),
    6,
  );
  expect(json.residentBytes).toBeGreaterThan(2 ** 26);
});
