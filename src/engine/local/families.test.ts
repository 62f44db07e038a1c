/** The engine on every family: what transformers generates, and a sampler and learner of one mind. */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { testDevice } from "../../../test/fixtures/device.ts";
import { toModelImage } from "../../image/model-image.ts";
import { goldenFolder } from "../../model/fixtures/golden.ts";
import { families } from "../../model/families/table.ts";
import { loadModelFolder, readModelConfig } from "../../model/folder.ts";
import { readProfile } from "../../model/profile.ts";
import { numPositions, type Chunk, type Datum, type Sample } from "../types.ts";
import { openLocalEngine, type LocalEngine } from "./client.ts";
import { FeatureCache } from "./feature-cache.ts";
import { forwardBackward } from "./learner.ts";
import type { LocalOptions } from "./protocol.ts";

const names = ["windows", "qwen2vl", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe"] as const;
const greedySchema = z.object({
  images: z.array(z.object({ widthPx: z.int(), heightPx: z.int(), rgb: z.base64() })),
  prompts: z.array(z.array(z.union([z.int(), z.array(z.int())]))),
  greedy: z.array(z.array(z.int())),
});

let engine: LocalEngine | undefined;
afterEach(async () => {
  await engine?.close();
  engine = undefined;
});

async function open(name: string, options: LocalOptions = {}): Promise<LocalEngine> {
  const own = { device: testDevice, threads: 1, numSlots: 4, maxPositions: 200, ...options };
  return (engine = await openLocalEngine(goldenFolder(name), own));
}

async function readGreedy(name: string): Promise<{ prompts: Chunk[][]; greedy: number[][] }> {
  const folder = goldenFolder(name);
  const read = greedySchema.parse(JSON.parse(readFileSync(`${folder}/greedy.json`, "utf8")));
  const { preprocessor } = await readProfile(folder);
  const images = read.images.map(({ widthPx, heightPx, rgb }) =>
    toModelImage(
      { widthPx, heightPx, data: Buffer.from(rgb, "base64") },
      preprocessor,
      preprocessor,
    ),
  );
  const prompts = read.prompts.map((parts) =>
    parts.map((part): Chunk =>
      typeof part === "number"
        ? { type: "image", image: images[part] }
        : { type: "text", tokens: part },
    ),
  );
  return { prompts, greedy: read.greedy };
}

function sampleAll(from: LocalEngine, prompts: Chunk[][], temperature: number): Promise<Sample[]> {
  const params = { maxTokens: 16, temperature, topP: 1, topK: 0, stop: [] };
  return Promise.all(prompts.map((chunks, seed) => from.sample(chunks, { ...params, seed })));
}

/** Prompt and sample, the sampled tokens weighted. */
function episode(prompt: Chunk[], { tokens }: Pick<Sample, "tokens">): Datum {
  const before = numPositions(prompt);
  const spread = (values: readonly number[]): Float32Array =>
    Float32Array.from({ length: before + tokens.length }, (_, t) => values[t - before] ?? 0);
  return {
    chunks: [...prompt, { type: "text", tokens }],
    weights: spread(tokens.map(() => 1)),
  };
}

/** Largest distance between what sampler and learner say of the sampled tokens. */
async function widestGap(
  from: LocalEngine,
  prompts: Chunk[][],
  samples: Sample[],
): Promise<number> {
  const outputs = await from.forward(prompts.map((prompt, i) => episode(prompt, samples[i])));
  const gaps = samples.flatMap(({ logprobs }, i) =>
    logprobs.map((value, t) => Math.abs(value - outputs[i].logprobs[numPositions(prompts[i]) + t])),
  );
  return Math.max(...gaps);
}

it("covers every family of the table", async () => {
  const configs = await Promise.all(names.map((name) => readModelConfig(goldenFolder(name))));
  const covered = new Set(configs.map(({ family }) => family));
  expect(families.map(({ modelType }) => modelType).filter((type) => !covered.has(type))).toEqual(
    [],
  );
});

describe.each(names)("%s", (name) => {
  it("writes the tokens that transformers generates", async () => {
    const { prompts, greedy } = await readGreedy(name);
    const samples = await sampleAll(await open(name), prompts, 0);
    expect(samples.map(({ tokens }) => tokens)).toEqual(greedy);
  });

  it("learns what it sampled, and samples what it learned", async () => {
    const { prompts } = await readGreedy(name);
    const opened = await open(name);
    const before = await sampleAll(opened, prompts, 1);
    expect(await widestGap(opened, prompts, before)).toBeLessThan(1e-4);
    const data = prompts.map((prompt, i) => episode(prompt, before[i]));
    const { gradNorm } = await opened.forwardBackward(data, { kind: "crossEntropy" }).then(() =>
      opened.optimStep({
        learningRate: 1e-2,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weightDecay: 0,
        clipNorm: 1,
      }),
    );
    expect(gradNorm).toBeGreaterThan(0);
    const after = await sampleAll(opened, prompts, 1);
    expect(after.map(({ tokens }) => tokens)).not.toEqual(before.map(({ tokens }) => tokens));
    expect(await widestGap(opened, prompts, after)).toBeLessThan(1e-4);
  });

  it("agrees with itself in bfloat16", async () => {
    const { prompts } = await readGreedy(name);
    const opened = await open(name, { dtype: "bfloat16" });
    const samples = await sampleAll(opened, prompts, 1);
    // Narrow heads, normed, make more of what is rounded: transformers is a nat off its own float32 there.
    const bound = name === "qwen35" ? 0.5 : 0.25;
    expect(await widestGap(opened, prompts, samples)).toBeLessThan(bound);
  });

  it.each(["float32", "bfloat16"] as const)(
    "samples the same in %s where nothing learns",
    async (dtype) => {
      const { prompts } = await readGreedy(name);
      const learning = await open(name, { dtype });
      const expected = await sampleAll(learning, prompts, 1);
      await learning.close();
      expect(await sampleAll(await open(name, { dtype, learns: false }), prompts, 1)).toEqual(
        expected,
      );
    },
  );

  it("has the same gradients where blocks and layers run again", async () => {
    const { prompts, greedy } = await readGreedy(name);
    const data = prompts.map((prompt, i) => episode(prompt, { tokens: greedy[i] }));
    const folder = goldenFolder(name);
    const { preprocessor } = await readProfile(folder);
    const model = await loadModelFolder(folder, { device: testDevice });
    const features = new FeatureCache(model, preprocessor, 2 ** 20);
    const trained = model.setTrainable("all");
    const gradients = (recompute: boolean): Map<string, unknown> => {
      const settings = {
        trainable: "all",
        tokensPerMicroBatch: 200,
        logitsBytes: 2 ** 20,
      } as const;
      const own = { ...settings, recompute, preprocessor };
      forwardBackward({ model, features }, data, { kind: "crossEntropy" }, own);
      const found = new Map([...trained].map(([of, { grad }]) => [of, grad?.toArray()]));
      for (const parameter of trained.values()) parameter.zeroGrad();
      return found;
    };
    const kept = gradients(false);
    expect([...kept].filter(([, own]) => own === undefined)).toEqual([]);
    expect([...gradients(true)]).toEqual([...kept]);
    features.dispose();
    model.dispose();
  });

  it.skipIf(testDevice !== "cpu")("gives a request the same bits in any company", async () => {
    const { prompts } = await readGreedy(name);
    const opened = await open(name);
    const alone: Sample[] = [];
    for (const prompt of prompts) alone.push(...(await sampleAll(opened, [prompt], 1)));
    const same = { maxTokens: 16, temperature: 1, topP: 1, topK: 0, stop: [], seed: 0 };
    const together = await Promise.all(prompts.map((prompt) => opened.sample(prompt, same)));
    expect(together).toEqual(alone);
  });
});
