/**
 * The rows of `bench -- gpu` on our side: two ceilings of the card, then decoding, training steps and a
 * whole step of GRPO with zoom through the engine. Each gives its figures or throws; none knows another.
 * Legend: T positions of a datum.
 */
import { box } from "../../src/image/frames.ts";
import { cutBox } from "../../src/image/crop.ts";
import type { RgbImage } from "../../src/image/decode.ts";
import { toModelImage, type ModelImage } from "../../src/image/model-image.ts";
import type { PreprocessorConfig } from "../../src/image/preprocessor-config.ts";
import { stream } from "../../src/core/random.ts";
import type { LocalEngine } from "../../src/engine/local/client.ts";
import {
  numPositions,
  type Chunk,
  type Datum,
  type Loss,
  type Sample,
} from "../../src/engine/types.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { synchronize } from "../../src/torch/device.ts";
import { empty, randn } from "../../src/torch/ops.ts";
import { noGrad, scope } from "../../src/torch/scope.ts";
import type { Device } from "../../src/torch/tensor.ts";
import type { Figures } from "./report.ts";
import { decodeBytes, trainFlops, type Work } from "./sizes.ts";

/** TFLOP/s of bfloat16 products with sums in float32 that the data sheets of H100 and H200 give. */
const DATASHEET_TERAFLOPS = 989;
const BYTES_PER_NUMBER = 2;
export const adam = {
  learningRate: 1e-6,
  beta1: 0.9,
  beta2: 0.99,
  eps: 1e-8,
  weightDecay: 0,
  clipNorm: 1,
};

/** What the rows after the ceilings measure themselves by. */
export interface Ceilings {
  bytesPerSecond?: number;
  flopsPerSecond?: number;
}

export interface Bench {
  readonly work: Work;
  readonly config: ModelConfig;
  readonly preprocessor: PreprocessorConfig;
  readonly engine: LocalEngine;
  /** An adapter is trained, the weights are frozen. */
  readonly isLora: boolean;
  readonly ceilings: Ceilings;
}

/** Bytes read and written a second while a block is copied on the device. */
export function copyRate({ copied }: Work, device: Device, ceilings: Ceilings): Figures {
  const seconds = timed(device, () => {
    const [from, to] = [1, 2].map(() => empty([copied], { dtype: "bfloat16", device }).zero_());
    return () => to.copy_(from);
  });
  ceilings.bytesPerSecond = (2 * BYTES_PER_NUMBER * copied) / seconds;
  return { gigabytesPerSecond: ceilings.bytesPerSecond / 1e9 };
}

/** Floating-point operations a second of a product of two square matrices of random numbers. */
export function matmulRate({ matrix }: Work, device: Device, ceilings: Ceilings): Figures {
  const seconds = timed(device, () => {
    const options = { dtype: "bfloat16", device } as const;
    const [left, right] = [1, 2].map(() => randn([matrix, matrix], options));
    return () => left.mm(right);
  });
  ceilings.flopsPerSecond = (2 * matrix ** 3) / seconds;
  return { teraflops: ceilings.flopsPerSecond / 1e12 };
}

/** The mean of ten runs after three. */
function timed(device: Device, prepare: () => () => unknown): number {
  return noGrad(() =>
    scope(() => {
      const run = prepare();
      const many = (count: number): void => {
        for (let i = 0; i < count; i++) scope(() => void run());
        if (device !== "cpu") synchronize();
      };
      many(3);
      const start = performance.now();
      many(10);
      return (performance.now() - start) / 10_000;
    }),
  );
}

/** Some sequences decoded side by side, from prompts of text that share nothing. */
export async function decode(
  { work, config, engine, ceilings }: Bench,
  sequences: number,
): Promise<Figures> {
  const { promptTokens, newTokens } = work.decode;
  const round = async (seed: number, maxTokens: number): Promise<Figures> => {
    const before = await engine.facts();
    const start = performance.now();
    await Promise.all(
      Array.from({ length: sequences }, (_, s) =>
        engine.sample([words(config, promptTokens, seed, s)], sampling(maxTokens, s)),
      ),
    );
    const seconds = (performance.now() - start) / 1000;
    const after = await engine.facts();
    const steps = after.decodeSteps - before.decodeSteps;
    const stepSeconds = (after.decodeSeconds - before.decodeSeconds) / steps;
    const positions = promptTokens + newTokens / 2;
    const bytes = decodeBytes(config, { sequences, positions }, BYTES_PER_NUMBER);
    const { bytesPerSecond } = ceilings;
    return {
      tokensPerSecond: (sequences * maxTokens) / seconds,
      stepMs: 1000 * stepSeconds,
      ...(bytesPerSecond && { bandwidthShare: bytes / stepSeconds / bytesPerSecond }),
    };
  };
  // Graphs are made in the first steps.
  await round(1, Math.min(8, newTokens));
  return round(2, newTokens);
}

/** A step on sequences of a picture and text: forward, backward, AdamW. */
export async function train(bench: Bench, loss: Loss["kind"]): Promise<Figures> {
  const { work, config, engine, isLora, ceilings } = bench;
  const { sequences, scoredTokens, steps } = work.train;
  const data = trainData(bench);
  const full: Loss = loss === "crossEntropy" ? { kind: loss } : policyLoss;
  const step = async (): Promise<number> => {
    const { loss: sum } = await engine.forwardBackward(data, full);
    await engine.optimStep(adam);
    return sum;
  };
  const first = await step();
  const start = performance.now();
  for (let n = 0; n < steps; n++) await step();
  const seconds = (performance.now() - start) / 1000 / steps;
  const lengths = data.map(({ chunks }) => numPositions(chunks));
  const flops = trainFlops(config, lengths, sequences * scoredTokens, isLora);
  const positions = lengths.reduce((sum, length) => sum + length, 0);
  const { flopsPerSecond } = ceilings;
  return {
    tokensPerSecond: positions / seconds,
    secondsPerStep: seconds,
    mfu: flops / seconds / (1e12 * DATASHEET_TERAFLOPS),
    ...(flopsPerSecond && { ofMatmul: flops / seconds / flopsPerSecond }),
    ...(loss === "crossEntropy" && { loss: first }),
  };
}

export const policyLoss: Loss = {
  kind: "grpo",
  clipLow: 0.2,
  clipHigh: 0.28,
  dualClip: 3,
  klCoef: 0,
  onPolicy: false,
};

/** The data of the training steps: one picture, and text of which the last tokens are learned. */
export function trainData({
  work,
  config,
  preprocessor,
}: Pick<Bench, "work" | "config" | "preprocessor">): Datum[] {
  const { sequences, textTokens, scoredTokens } = work.train;
  const image = pictureOf(work.picturePx, 1, preprocessor);
  return Array.from({ length: sequences }, (_, s): Datum => {
    const chunks = [{ type: "image" as const, image }, words(config, textTokens, 3, s)];
    const length = numPositions(chunks);
    const scored = (value: number): Float32Array =>
      new Float32Array(length).fill(value, length - scoredTokens);
    return {
      chunks,
      weights: scored(1 / (sequences * scoredTokens)),
      oldLogprobs: scored(-Math.log(config.text.vocabSize)),
      advantages: scored(s % 2 === 0 ? 1 : -1),
    };
  });
}

/** An episode: what was read and written, who wrote it, and with which log-probabilities. */
interface Episode {
  readonly chunks: Chunk[];
  readonly written: { readonly at: number; readonly sample: Sample }[];
}

/**
 * A step of GRPO with zoom: groups of episodes on a picture, each a few turns with a crop of its own
 * between two of them, and then an update from all. Where to look is drawn, since the weights are
 * random; pixels are cut and resized as the tool does it. No reference, no parity gate.
 */
export async function zoomStep(bench: Bench): Promise<Figures> {
  const { work, config, engine, preprocessor } = bench;
  const { prompts, groupSize, promptTokens } = work.zoom;
  const start = performance.now();
  const groups = await Promise.all(
    Array.from({ length: prompts }, (_, p) => {
      const picture = noise(work.picturePx, p);
      const image = asSeen(picture, work.picturePx, preprocessor);
      const prompt: Chunk[] = [{ type: "image", image }, words(config, promptTokens, 5, p)];
      return Promise.all(
        Array.from({ length: groupSize }, (_, g) =>
          playEpisode(bench, picture, prompt, p * groupSize + g),
        ),
      );
    }),
  );
  const sampled = performance.now();
  const episodes = groups.flat();
  const numWritten = episodes.reduce(
    (sum, { written }) => sum + written.reduce((own, { sample }) => own + sample.tokens.length, 0),
    0,
  );
  const data = episodes.map((episode, e) => datumOf(episode, e % 2 === 0 ? 1 : -1, numWritten));
  await engine.forwardBackward(data, policyLoss);
  await engine.optimStep(adam);
  const end = performance.now();
  const positions = data.reduce((sum, { chunks }) => sum + numPositions(chunks), 0);
  return {
    writtenTokensPerSecond: (1000 * numWritten) / (end - start),
    tokensPerSecond: (1000 * positions) / (end - start),
    secondsPerStep: (end - start) / 1000,
    sampleSeconds: (sampled - start) / 1000,
    learnSeconds: (end - sampled) / 1000,
  };
}

async function playEpisode(
  { work, config, engine, preprocessor }: Bench,
  picture: RgbImage,
  prompt: readonly Chunk[],
  number: number,
): Promise<Episode> {
  const { crops, tokensPerTurn } = work.zoom;
  const random = stream(7, "zoom", number);
  const chunks = [...prompt];
  const written: Episode["written"] = [];
  for (let turn = 0; turn <= crops; turn++) {
    const sample = await engine.sample(
      chunks,
      sampling(tokensPerTurn, number * (crops + 1) + turn),
    );
    written.push({ at: numPositions(chunks), sample });
    chunks.push({ type: "text", tokens: sample.tokens });
    if (turn === crops) break;
    const side = Math.floor(picture.widthPx / 3);
    const [x, y] = [1, 2].map(() => random.int(0, picture.widthPx - side));
    const cut = cutBox(picture, box("original", x, y, x + side, y + side));
    const image = asSeen(cut, work.cropPx, preprocessor);
    chunks.push({ type: "image", image }, words(config, 4, 6, number));
  }
  return { chunks, written };
}

function datumOf({ chunks, written }: Episode, advantage: number, numWritten: number): Datum {
  const length = numPositions(chunks);
  const [weights, oldLogprobs] = [new Float32Array(length), new Float32Array(length)];
  for (const { at, sample } of written) {
    weights.fill(1 / numWritten, at, at + sample.tokens.length);
    oldLogprobs.set(sample.logprobs, at);
  }
  return { chunks, weights, oldLogprobs, advantages: new Float32Array(length).fill(advantage) };
}

/** Text of any words but the special ones. */
export function words({ text }: ModelConfig, count: number, ...key: number[]): Chunk {
  const random = stream(11, "words", ...key);
  const tokens = Array.from({ length: count }, () => random.int(0, text.vocabSize - 9));
  return { type: "text", tokens };
}

export function pictureOf(px: number, seed: number, preprocessor: PreprocessorConfig): ModelImage {
  return asSeen(noise(px, seed), px, preprocessor);
}

function asSeen(image: RgbImage, px: number, preprocessor: PreprocessorConfig): ModelImage {
  return toModelImage(image, { minPixels: px * px, maxPixels: px * px }, preprocessor);
}

function noise(px: number, seed: number): RgbImage {
  const random = stream(13, "noise", seed);
  const data = new Uint8Array(px * px * 3);
  const view = new Uint32Array(data.buffer, 0, data.length >> 2);
  for (let i = 0; i < view.length; i++) view[i] = random.int(0, 0xffffffff);
  return { widthPx: px, heightPx: px, data };
}

function sampling(maxTokens: number, seed: number) {
  return { temperature: 1, maxTokens, seed, topP: 1, topK: 0, stop: [] };
}
