/**
 * Families that differ from the nano model's in everything a run can notice (token side, coordinates,
 * dialect, deepstack; delta nets): warm start and reinforcement learning with the zoom tool, gate on,
 * resumed, of all weights and of an adapter.
 */
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { z } from "zod";
import { hashFile } from "../src/core/files.ts";
import { createRunFolder, openRunFolder, type RunFolder } from "../src/core/run-folder.ts";
import { openLocalEngine } from "../src/engine/local/client.ts";
import { parseModelConfig } from "../src/model/families/table.ts";
import { saveModelFolder } from "../src/model/folder.ts";
import { initModel } from "../src/model/init.ts";
import type { Metrics } from "../src/train/metrics.ts";
import { trainSft } from "../src/train/sft.ts";
import { sftSchema } from "../src/train/sft-config.ts";
import { tinyEpisode, tinyExamples, tinyRecords } from "./fixtures/tiny.ts";
import { trainTiny } from "./fixtures/train-tiny.ts";

vi.setConfig({ testTimeout: 300_000 });

const nano = join(import.meta.dirname, "../models/nano");
let root: string;
let warm: string;
let warmUp: Metrics[];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "vigorl-families-"));
  const start = join(root, "start");
  await makeModel(start);
  const learner = await open(start);
  warmUp = [];
  const result = await trainSft({
    learner,
    examples: await tinyExamples(await tinyEpisode(start, true), tinyRecords(256, 2)),
    run: await newRun("warm", "sft"),
    seed: 1,
    config: sftSchema.parse({ epochs: 5, batchSize: 16, learningRate: 6e-3 }),
    onStep: (metrics) => warmUp.push(metrics),
  });
  warm = result.folder;
  await learner.close();
}, 300_000);
afterAll(() => rm(root, { recursive: true, force: true }));

const open = (folder: string) => openLocalEngine(folder, { threads: 1, numSlots: 16 });
const newRun = (name: string, verb = "rl"): Promise<RunFolder> =>
  createRunFolder(join(root, name), { verb, name, seed: 1, recipe: {} });

test("episodes follow the folder: tokens of 32 pixels, thousandths, JSON calls", async () => {
  const episode = await tinyEpisode(warm, true);
  expect(episode).toMatchObject({ coordinates: "relative", preprocessor: { patchSize: 16 } });
  const [{ chunks }] = await tinyExamples(episode, tinyRecords(1));
  const sides = chunks.flatMap((chunk) =>
    chunk.type === "image" ? [chunk.image.widthPx, chunk.image.heightPx] : [],
  );
  expect(sides).toEqual([128, 128, 128, 128]);
});

test("the warm start learns", () => {
  expect(warmUp.at(-1)!.loss!).toBeLessThan(0.5 * warmUp[0].loss!);
});

test("GRPO with zoom passes the gate, and goes on to the same bytes", async () => {
  const parity = { maxGap: 1e-4 };
  const train = async (run: RunFolder, steps: number, resume: boolean): Promise<Metrics[]> =>
    trainTiny({ learner: await open(warm), model: warm, run, steps, resume, parity });
  const weights = (name: string): Promise<string> =>
    hashFile(join(root, name, "checkpoints", "step-3", "model.safetensors"));
  const straight = await train(await newRun("straight"), 3, false);
  expect(straight).toHaveLength(3);
  for (const row of straight) expect(row["parity/gapMax"]).toBeLessThan(1e-4);
  expect(straight[0]["parity/blindGap"]).toBeGreaterThan(1e-5);
  expect(straight[0].toolUsesPerEpisode).toBeGreaterThan(0);
  const run = await newRun("resumed");
  await train(run, 1, false);
  await train(await openRunFolder(run.path), 3, true);
  expect(await weights("resumed")).toBe(await weights("straight"));
});

/** Random weights of a Qwen3-VL with the nano model's tokenizer. */
async function makeModel(folder: string): Promise<void> {
  await mkdir(folder);
  for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
    await copyFile(join(nano, name), join(folder, name));
  const own = z.looseObject({ text_config: z.looseObject({ vocab_size: z.int() }) });
  const {
    text_config,
    vision_config: _,
    ...ids
  } = own.parse(JSON.parse(await readFile(join(nano, "config.json"), "utf8")));
  const rope = { rope_type: "default", rope_theta: 1e4, mrope_section: [6, 5, 5] };
  const json = {
    ...ids,
    architectures: ["Qwen3VLForConditionalGeneration"],
    model_type: "qwen3_vl",
    dtype: "float32",
    text_config: {
      vocab_size: text_config.vocab_size,
      hidden_size: 64,
      intermediate_size: 128,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 32,
      max_position_embeddings: 4096,
      initializer_range: 0.1,
      rope_parameters: { ...rope, mrope_interleaved: true },
    },
    vision_config: {
      depth: 2,
      hidden_size: 32,
      intermediate_size: 64,
      num_heads: 2,
      out_hidden_size: 64,
      patch_size: 16,
      num_position_embeddings: 64,
      deepstack_visual_indexes: [0],
    },
  };
  const preprocessor = {
    image_processor_type: "Qwen2VLImageProcessorFast",
    patch_size: 16,
    size: { shortest_edge: 128 * 128, longest_edge: 128 * 128 },
  };
  await writeFile(join(folder, "preprocessor_config.json"), JSON.stringify(preprocessor));
  const model = initModel(parseModelConfig(json, "tiny"), { seed: 1 });
  await saveModelFolder(model, folder, { filesFrom: folder });
  model.dispose();
}
