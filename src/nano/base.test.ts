import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfig } from "../core/config.ts";
import { loadModelFolder } from "../model/folder.ts";
import { loadChatFormat } from "../text/chat.ts";
import { baseRecipeSchema, trainBase } from "./base.ts";

const recipe = parseConfig(
  `
name: small
drawers: 1
evalSights: 2
tower: { steps: 3, batchSize: 4 }
lookups: { steps: 3, batchSize: 3, poolSize: 40 }
chats: { steps: 2, batchSize: 2 }
lookalikes: { steps: 1, batchSize: 2 }
habits: { steps: 1, batchSize: 2 }
looks: { steps: 1, batchSize: 2, poolSize: 40 }
verdicts: { steps: 1, batchSize: 2, poolSize: 40 }
`,
  "small.yaml",
  baseRecipeSchema,
);

const folder = () => mkdtempSync(join(tmpdir(), "nano-base-"));
const weights = (model: string) => readFileSync(join(model, "model.safetensors"));

test(
  "stopped in every stage, resumed and drawn by more threads is the same run",
  { timeout: 600_000 },
  async () => {
    const straight = await trainBase({ recipe, path: folder(), quiet: true });
    const model = await loadModelFolder(straight.folder);
    expect(model.config.text.numLayers).toBe(4);
    model.dispose();
    expect((await loadChatFormat(straight.folder)).tokenizer.vocabSize).toBeGreaterThan(500);

    const path = folder();
    const shared = { ...recipe, drawers: 3 };
    for (const [stop, resume] of [
      [2, false],
      [4, true],
      [7, true],
    ] as const) {
      const controller = new AbortController();
      const onStep = (step: number) => {
        if (step === stop) controller.abort();
      };
      const { signal } = controller;
      const options = { recipe: shared, path, resume, quiet: true, signal, onStep };
      await expect(trainBase(options)).rejects.toMatchObject({ code: "interrupted" });
    }
    const resumed = await trainBase({ recipe: shared, path, resume: true, quiet: true });
    expect(weights(resumed.folder).equals(weights(straight.folder))).toBe(true);
    expect(readFileSync(join(resumed.folder, "..", "metrics.jsonl"), "utf8")).toBe(
      readFileSync(join(straight.folder, "..", "metrics.jsonl"), "utf8"),
    );
  },
);

test("a stop is heard between two steps, though no step waits for anything", async () => {
  const controller = new AbortController();
  let last = 0;
  const onStep = (step: number) => {
    last = step;
    if (step === 1) setTimeout(() => controller.abort(), 0);
  };
  const still = { steps: 0, batchSize: 1, learningRate: 1e-3 };
  const lookups = { ...recipe.lookups, steps: 40 };
  const stages = { tower: still, lookups, logEvery: 1000, evalEvery: 1000, saveEvery: 1000 };
  const options = { recipe: { ...recipe, ...stages }, path: folder(), quiet: true, onStep };
  await expect(trainBase({ ...options, signal: controller.signal })).rejects.toMatchObject({
    code: "interrupted",
  });
  expect(last).toBeLessThan(10);
});
