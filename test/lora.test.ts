/**
 * GRPO with an adapter over a small Qwen3-VL on the nano tasks, through the command line and an ordinary
 * recipe: the parity gate on, stopped and resumed to the same bytes, then served, evaluated and merged.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashFile } from "../src/core/files.ts";
import { createRunFolder } from "../src/core/run-folder.ts";
import { openLocalEngine } from "../src/engine/local/client.ts";
import { nanoRecords } from "../src/nano/tasks.ts";
import type { Metrics } from "../src/train/metrics.ts";
import { sftSchema } from "../src/train/sft-config.ts";
import { trainSft } from "../src/train/sft.ts";
import { makeTinyQwen3, tinyEpisode, tinyExamples } from "./fixtures/tiny.ts";
import { runVigorl } from "./fixtures/command-line.ts";

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-lora-cli-"));
  const start = join(folder, "start");
  await makeTinyQwen3(start);
  const learner = await openLocalEngine(start, { threads: 1, numSlots: 16 });
  const records = nanoRecords({ task: "search", split: "train", count: 160, seed: 9 });
  const examples = await tinyExamples(await tinyEpisode(start, true), records);
  const description = { verb: "sft", name: "warm", seed: 1, recipe: {} };
  const run = await createRunFolder(join(folder, "warm"), description);
  const config = sftSchema.parse({ epochs: 8, batchSize: 16, learningRate: 5e-3 });
  const { folder: model } = await trainSft({ learner, examples, run, seed: 1, config });
  await learner.close();
  await writeFile(
    join(folder, "lora.yaml"),
    `name: straight
engine: { model: ${model}, threads: 1, gradientCheckpointing: true, memory: { cacheGiB: 1 } }
lora: { rank: 4, alpha: 16, targets: all-linear }
tools: { zoom: { windowPx: 8, outputPx: 112 } }
episode: { maxTurns: 3, maxToolImages: 2, maxTokensPerTurn: 48, maxTotalTokens: 160 }
prompts: { style: nano }
data: { train: [{ nano: search, count: 24 }], heldout: [{ nano: search, count: 4 }] }
rl: { trainable: language, steps: 10, promptsPerStep: 3, groupSize: 4, zeroVariance: keep, klCoef: 0.05,
  moments: int8, learningRate: 1e-2, checkpointEvery: 3 }
eval: { temperature: 1 }
`,
  );
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const vigorl = (args: readonly string[], interruptAt?: RegExp) =>
  runVigorl(folder, args, interruptAt);

test("ten steps, parity gate on, resumed once", async () => {
  const straight = await vigorl(["rl", "lora.yaml"]);
  expect([straight.code, straight.stderr]).toEqual([0, expect.stringContaining("10/10")]);
  const lines = await readFile(join(folder, "runs/straight/metrics.jsonl"), "utf8");
  const metrics = lines
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Metrics);
  expect(metrics).toHaveLength(10);
  expect(Math.max(...metrics.map((one) => one.gradNorm ?? 0))).toBeGreaterThan(0);
  expect(metrics.at(-1)!.kl!).toBeGreaterThan(metrics[0].kl!);

  const stopped = await vigorl(["rl", "lora.yaml", "--name", "resumed"], /rl +1\/10/);
  expect(stopped.stderr).toContain("--resume");
  expect(stopped.code).toBe(130);
  const resumed = await vigorl(["rl", "lora.yaml", "--name", "resumed", "--resume"]);
  expect(resumed.code).toBe(0);
  const last = (name: string) => join(folder, "runs", name, "checkpoints/step-10");
  const files = readdirSync(last("straight")).sort();
  expect(files).toEqual([
    "adapter_config.json",
    "adapter_model.safetensors",
    "optimizer.json",
    "optimizer.safetensors",
    "state.json",
    "vigorl.json",
  ]);
  for (const file of files.slice(0, 4))
    expect(await hashFile(join(last("resumed"), file))).toBe(
      await hashFile(join(last("straight"), file)),
    );

  const scored = async (model: string, name: string) => {
    const done = await vigorl(["eval", "lora.yaml", "--model", model, "--name", name, "--json"]);
    expect(done.stderr).toBe("");
    expect(done.code).toBe(0);
    return JSON.parse(done.stdout) as { arms?: unknown };
  };
  await scored("runs/straight", "of-adapter");
  const merged = await vigorl(["merge", "runs/straight", "--out", "merged", "--json"]);
  expect(JSON.parse(merged.stdout)).toMatchObject({ layers: 14, dtype: "float32" });
  await scored("merged", "of-merged");

  const recipe = await readFile(join(folder, "lora.yaml"), "utf8");
  await writeFile(join(folder, "whole.yaml"), recipe.replace(/^lora:.*$/m, ""));
  const whole = await vigorl(["rl", "whole.yaml", "--name", "whole", "--model", "runs/straight"]);
  expect([whole.code, whole.stderr]).toEqual([2, expect.stringContaining("a lora section")]);
  const again = await vigorl(["merge", "runs/straight", "--out", "merged"]);
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("is there already")]);
}, 900_000);
