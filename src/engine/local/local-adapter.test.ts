/** An engine that trains an adapter: one mind with its sampler, a reference without copies, exact resume. */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { testDevice } from "../../../test/fixtures/device.ts";
import { hashFile } from "../../core/files.ts";
import { goldenFolder } from "../../model/fixtures/golden.ts";
import { mergeFolders } from "../../model/merge-folders.ts";
import type { LoraStart } from "../lora.ts";
import type { Datum } from "../types.ts";
import { openLocalEngine, type LocalEngine } from "./client.ts";
import type { LocalOptions } from "./protocol.ts";

const base = goldenFolder("qwen3vl");
const lora: LoraStart = {
  rank: 4,
  alpha: 8,
  targets: "all-linear",
  rslora: false,
  dropout: 0,
  seed: 1,
};
const adam = {
  learningRate: 3e-2,
  beta1: 0.9,
  beta2: 0.99,
  eps: 1e-8,
  weightDecay: 0,
  clipNorm: 1,
};

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "vigorl-lora-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const engines: LocalEngine[] = [];
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.close();
});
async function open(options: LocalOptions): Promise<LocalEngine> {
  const own = { device: testDevice, threads: 1, numSlots: 4, maxPositions: 64, ...options };
  const engine = await openLocalEngine(base, own);
  engines.push(engine);
  return engine;
}

const data = [0, 1, 2].map((seed): Datum => {
  const tokens = Array.from({ length: 12 + 3 * seed }, (_, t) => 3 + ((7 * t + 11 * seed) % 70));
  return {
    chunks: [{ type: "text", tokens }],
    weights: Float32Array.from(tokens, (_, t) => (t < 4 ? 0 : 0.1)),
  };
});

async function learn(engine: LocalEngine, steps: number): Promise<number[]> {
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    losses.push((await engine.forwardBackward(data, { kind: "crossEntropy" })).loss);
    await engine.optimStep(adam);
  }
  return losses;
}

async function scores(engine: LocalEngine, weights?: "reference"): Promise<number[]> {
  const outputs = await engine.forward(data, { weights });
  return outputs.flatMap(({ logprobs }) => [...logprobs]);
}

describe.each([
  ["float32", 1],
  ["float32", 2],
  ["bfloat16", 1],
] as const)("in %s with %i samplers", (dtype, samplers) => {
  const how = { dtype, samplers, trainable: "language", lora } as const;

  it("learns, while the sampler follows and the reference stays", async () => {
    const engine = await open(how);
    const before = await scores(engine);
    await engine.setReference();
    const losses = await learn(engine, 8);
    expect(losses.at(-1)!).toBeLessThan(0.8 * losses[0]);
    expect(await scores(engine, "reference")).toEqual(before);

    const prompt = [{ type: "text" as const, tokens: [5, 12, 19, 26] }];
    const params = { maxTokens: 8, temperature: 1, topP: 1, topK: 0, stop: [] };
    const samples = await Promise.all(
      [1, 2, 3, 4].map((seed) => engine.sample(prompt, { ...params, seed })),
    );
    const again = await engine.forward(
      samples.map(({ tokens }) => ({
        chunks: [...prompt, { type: "text", tokens }],
        weights: Float32Array.from({ length: 4 + tokens.length }, (_, t) => (t < 4 ? 0 : 1)),
      })),
    );
    const gaps = samples.flatMap(({ logprobs }, i) =>
      logprobs.map((value, t) => Math.abs(value - again[i].logprobs[4 + t])),
    );
    expect(Math.max(...gaps)).toBeLessThan(dtype === "float32" ? 1e-4 : 0.2);
  });
});

it("is the reference as it was where it did something already", async () => {
  const folder = join(root, "begun");
  const first = await open({ trainable: "language", lora });
  await learn(first, 3);
  await first.save(folder);
  const engine = await open({ trainable: "language", lora, adapter: folder });
  const before = await scores(engine);
  expect(before).toEqual(await scores(first));
  await engine.setReference();
  await learn(engine, 2);
  expect(await scores(engine, "reference")).toEqual(before);
  expect(await scores(engine)).not.toEqual(before);
});

it("is saved without the base, and resumes to the same bytes", async () => {
  for (const dropout of [0, 0.2]) {
    const how: LocalOptions = { trainable: "language", lora: { ...lora, dropout } };
    const straight = await open(how);
    await learn(straight, 2);
    const half = join(root, `half-${dropout}`);
    await straight.save(half, { optimizer: true });
    const rest = await learn(straight, 2);
    const resumed = await open(how);
    await resumed.load(half, { optimizer: true });
    expect(await learn(resumed, 2)).toEqual(rest);
    const ends = ["straight", "resumed"].map((name) => join(root, `${name}-${dropout}`));
    await straight.save(ends[0], { optimizer: true });
    await resumed.save(ends[1], { optimizer: true });
    const files = (await readdir(ends[0])).sort();
    expect(files).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "optimizer.json",
      "optimizer.safetensors",
    ]);
    for (const file of files)
      expect(await hashFile(join(ends[1], file))).toBe(await hashFile(join(ends[0], file)));
  }
  const config = JSON.parse(
    await readFile(join(root, "straight-0/adapter_config.json"), "utf8"),
  ) as Record<string, unknown>;
  expect(config).toMatchObject({ r: 4, lora_alpha: 8, base_model_name_or_path: base });
  expect(config.target_modules).toEqual(
    ["down", "gate", "k", "o", "q", "up", "v"].map((name) => `${name}_proj`),
  );
});

it("opens for sampling, and merged it says the same", async () => {
  const folder = join(root, "trained");
  const learner = await open({ trainable: "all", lora: { ...lora, rslora: true } });
  await learn(learner, 3);
  await learner.save(folder);
  const sampler = await open({ adapter: folder });
  const wanted = await scores(learner);
  expect(await scores(sampler)).toEqual(wanted);
  const merged = join(root, "merged");
  await mergeFolders(base, folder, merged);
  expect(existsSync(join(merged, "config.json"))).toBe(true);
  const whole = await openLocalEngine(merged, { device: testDevice, threads: 1, maxPositions: 64 });
  engines.push(whole);
  const gap = (await scores(whole)).map((value, i) => Math.abs(value - wanted[i]));
  expect(Math.max(...gap)).toBeLessThan(1e-4);
});

it("refuses another adapter than the one that is to be trained", async () => {
  const folder = join(root, "other");
  const learner = await open({ trainable: "language", lora });
  await learner.save(folder);
  const wider = { ...lora, rank: 8 };
  await expect(open({ trainable: "language", lora: wider, adapter: folder })).rejects.toThrow(
    /has rank 4, scale 2; lora says rank 8, scale 1/,
  );
  const wrong = { ...lora, targets: ["wq"] };
  await expect(open({ trainable: "language", lora: wrong })).rejects.toThrow(
    /lora\.targets: no linear layer that is trained fits wq/,
  );
});
