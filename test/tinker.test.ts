/**
 * The stages of a recipe on an engine of kind `tinker`: GRPO with a tool and its parity gate, stopped
 * and resumed, a warm start, and an evaluation of what was trained; the server is one of this process,
 * over our own engine with the nano model.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { parseConfig } from "../src/core/config.ts";
import { hashFile } from "../src/core/files.ts";
import { openLocalEngine, type LocalEngine } from "../src/engine/local/client.ts";
import { onWeights } from "../src/engine/open.ts";
import {
  startTinkerServer,
  type TinkerServer,
} from "../src/engine/tinker/fixtures/tinker-server.ts";
import { readProfile } from "../src/model/profile.ts";
import { runEvaluation } from "../src/pipeline.ts";
import { loadTasks, recipeSchema, type Recipe } from "../src/recipe.ts";
import { rlStage } from "../src/stages/rl.ts";
import { sftStage } from "../src/stages/sft.ts";
import type { StageOptions } from "../src/stages/stage.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

const nano = resolve(import.meta.dirname, "../models/nano");
let folder: string;
let learner: LocalEngine;
let server: TinkerServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-tinker-stages-"));
  learner = await openLocalEngine(nano, { threads: 1, numSlots: 16, trainable: "language" });
  const { preprocessor } = await readProfile(nano);
  server = await startTinkerServer({ learner, preprocessor, folder: join(folder, "server") });
});
afterAll(async () => {
  await server.close();
  await learner.close();
  rmSync(folder, { recursive: true, force: true });
});

const recipe = (more = "") =>
  parseConfig(
    `name: far
engine: { kind: tinker, url: "${server.url}", folder: "${nano}", retryDelaySeconds: 0 }
tools: { zoom: { windowPx: 8, outputPx: 112 } }
episode: { maxTurns: 3, maxToolImages: 2, maxTokensPerTurn: 48, maxTotalTokens: 160 }
prompts: { style: nano }
data: { train: [{ nano: search, count: 8 }], heldout: [{ nano: search, count: 4 }] }
sft: { from: answers, trainable: language, epochs: 1, batchSize: 4 }
rl: { steps: 3, promptsPerStep: 2, groupSize: 4, trainable: language, checkpointEvery: 1, klCoef: 0.01 }
eval: { temperature: 1, traces: 1 }
${more}`,
    "far.yaml",
    recipeSchema,
    [],
  );

const stage = (path: string, own: Recipe, more: Partial<StageOptions> = {}): StageOptions => ({
  recipe: own,
  path: join(folder, path),
  resume: false,
  overwrite: false,
  quiet: true,
  signal: new AbortController().signal,
  ...more,
});

test("GRPO, stopped and resumed, ends with the same weights at the server; they are evaluated", async () => {
  const own = recipe();
  const tasks = await loadTasks(own, "train");
  const straight = await rlStage(stage("straight", own), own.engine, tasks);
  expect(straight.weights).toMatch(/^tinker:\/\/s\d+\/weights\/v\d-/);

  const rows = readFileSync(join(folder, "straight/metrics.jsonl"), "utf8").trim().split("\n");
  const metrics = rows.map((row) => JSON.parse(row) as Record<string, number>);
  expect(metrics).toHaveLength(3);
  expect(metrics[0]["parity/gapMean"]).toBeLessThan(1e-3);
  expect(metrics[0]["parity/blindGap"]).toBeGreaterThan(0.01);
  expect(metrics[0].gradNorm).toBeGreaterThan(0);
  expect(metrics.every((row) => !("entropy" in row))).toBe(true);

  const controller = new AbortController();
  const stopping = stage("stopped", own, { signal: controller.signal });
  const timer = setInterval(() => {
    if (server.log.filter(({ path }) => path === "POST save_weights").length > 3)
      controller.abort(new Error("stop"));
  }, 5);
  await expect(rlStage(stopping, own.engine, tasks)).rejects.toMatchObject({ code: "interrupted" });
  clearInterval(timer);
  const resumed = await rlStage(stage("stopped", own, { resume: true }), own.engine, tasks);
  expect(resumed.steps).toBe(3);
  expect(await weightsOf(resumed.weights!)).toBe(await weightsOf(straight.weights!));

  const state = JSON.parse(
    readFileSync(join(folder, "stopped/checkpoints/step-3/state.json"), "utf8"),
  ) as unknown;
  expect(state).toMatchObject({
    handle: resumed.weights,
    files: [{ name: "vigorl.json" }], // what the model is for; its weights are at the server
  });
  expect(server.log.filter(({ path }) => path.startsWith("DELETE")).length).toBeGreaterThan(0);

  const trained = { ...own, engine: onWeights(own.engine, straight.weights!) };
  const { report } = await runEvaluation(stage("evaluated", trained), "eval");
  expect(report.arms).toMatchObject([{ name: "model", n: 4 }]);
  expect(report.facts["start model"]).toBe(straight.weights);
});

test("a warm start on true answers lowers the loss", async () => {
  const own = { ...recipe(), tools: {} };
  const { weights } = await sftStage(stage("warm", own), own.engine, await loadTasks(own, "train"));
  expect(weights).toMatch(/^tinker:/);
  const rows = readFileSync(join(folder, "warm/metrics.jsonl"), "utf8").trim().split("\n");
  expect(rows).toHaveLength(2);
});

test("a temperature that the protocol has not is refused before anything is asked of the server", async () => {
  const own = recipe("").rl;
  const hot = { ...recipe(), rl: { ...own, temperature: 0.7 } };
  const before = server.log.length;
  await expect(rlStage(stage("hot", hot), hot.engine, [])).rejects.toThrow(
    "rl: an engine of kind tinker lacks temperature (log-probabilities at other temperatures than 1)",
  );
  expect(server.log.length).toBe(before);
});

const weightsOf = (handle: string) =>
  hashFile(join(folder, "server", handle.split("/").at(-1)!, "model.safetensors"));
