/**
 * A model with delta nets, whose sequences are carried on by states: warm start and GRPO with the zoom
 * tool, of an adapter and of all weights, the gate on, stopped and resumed to the same bytes.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { hashFile } from "../src/core/files.ts";
import { createRunFolder, openRunFolder, type RunFolder } from "../src/core/run-folder.ts";
import { openLocalEngine, type LocalEngine } from "../src/engine/local/client.ts";
import type { LocalOptions } from "../src/engine/local/protocol.ts";
import type { Metrics } from "../src/train/metrics.ts";
import { trainSft } from "../src/train/sft.ts";
import { sftSchema } from "../src/train/sft-config.ts";
import { makeTinyDelta, tinyEpisode, tinyExamples, tinyRecords } from "./fixtures/tiny.ts";
import { trainTiny } from "./fixtures/train-tiny.ts";

vi.setConfig({ testTimeout: 300_000 });

let root: string;
let warm: string;
let losses: number[];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "vigorl-delta-"));
  const start = join(root, "start");
  await makeTinyDelta(start);
  const learner = await open(start);
  losses = [];
  const { folder } = await trainSft({
    learner,
    examples: await tinyExamples(await tinyEpisode(start, true), tinyRecords(256, 2)),
    run: await newRun("warm", "sft"),
    seed: 1,
    config: sftSchema.parse({ epochs: 5, batchSize: 16, learningRate: 6e-3 }),
    onStep: ({ loss }) => losses.push(loss!),
  });
  warm = folder;
  await learner.close();
}, 300_000);
afterAll(() => rm(root, { recursive: true, force: true }));

const open = (folder: string, options: LocalOptions = {}): Promise<LocalEngine> =>
  openLocalEngine(folder, { threads: 1, numSlots: 16, ...options });
const newRun = (name: string, verb = "rl"): Promise<RunFolder> =>
  createRunFolder(join(root, name), { verb, name, seed: 1, recipe: {} });

test("the warm start learns", () => {
  expect(losses.at(-1)!).toBeLessThan(0.6 * losses[0]);
});

const lora = {
  rank: 4,
  alpha: 16,
  targets: "all-linear",
  exclude: ".*visual.*",
  rslora: false,
  dropout: 0,
  seed: 1,
} as const;

describe.each<[string, LocalOptions, string]>([
  ["all weights", {}, "model.safetensors"],
  ["an adapter", { lora, gradientCheckpointing: true }, "adapter_model.safetensors"],
])("GRPO with zoom, of %s", (what, options, file) => {
  test("passes the gate, and goes on to the same bytes", async () => {
    // What it learned of these pictures is little.
    const parity = { maxGap: 1e-4, minBlindGap: 1e-5 };
    const train = async (run: RunFolder, steps: number, resume: boolean): Promise<Metrics[]> =>
      trainTiny({ learner: await open(warm, options), model: warm, run, steps, resume, parity });
    const weights = (name: string): Promise<string> =>
      hashFile(join(root, name, "checkpoints", "step-3", file));
    const straight = await train(await newRun(`${what} straight`), 3, false);
    expect(straight).toHaveLength(3);
    for (const row of straight) expect(row["parity/gapMax"]).toBeLessThan(1e-4);
    expect(straight[0]["parity/blindGap"]).toBeGreaterThan(1e-5);
    expect(straight[0].toolUsesPerEpisode).toBeGreaterThan(0);
    expect(Math.max(...straight.map(({ gradNorm }) => gradNorm ?? 0))).toBeGreaterThan(0);
    const run = await newRun(`${what} resumed`);
    await train(run, 1, false);
    await train(await openRunFolder(run.path), 3, true);
    expect(await weights(`${what} resumed`)).toBe(await weights(`${what} straight`));
  });
});
