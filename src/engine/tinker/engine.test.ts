/**
 * The client against a server of the protocol over our own engine: the same numbers as in process,
 * and every way in which a server can fail.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { makeTinyModel } from "../../../test/fixtures/tiny.ts";
import { toModelImage } from "../../image/model-image.ts";
import { readProfile } from "../../model/profile.ts";
import { loadChatFormat, type ChatFormat } from "../../text/chat.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import { openLocalEngine, type LocalEngine } from "../local/client.ts";
import { ReplyFault } from "../reply-fault.ts";
import { engineSchema, openLearner, openSampler, resolveEngine } from "../open.ts";
import type { Chunk, Datum, Learner, Loss } from "../types.ts";
import {
  startTinkerServer,
  writeSample,
  type TinkerFault,
  type TinkerServer,
  type TinkerServerOptions,
} from "./fixtures/tinker-server.ts";

let folder: string;
let model: string;
let chat: ChatFormat;
let preprocessor: PreprocessorConfig;
let near: LocalEngine;
let served: LocalEngine;
let server: TinkerServer | undefined;
let far: Learner | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vigorl-tinker-"));
  model = join(folder, "model");
  await makeTinyModel(model);
  chat = await loadChatFormat(model);
  ({ preprocessor } = await readProfile(model));
  const options = { threads: 1, numSlots: 4, trainable: "language" } as const;
  near = await openLocalEngine(model, options);
  served = await openLocalEngine(model, options);
  await near.save(join(folder, "base"), { optimizer: true });
});
afterAll(async () => {
  await near.close();
  await served.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  for (const engine of [near, served]) await engine.load(join(folder, "base"), { optimizer: true });
});
afterEach(async () => {
  await far?.close();
  await server?.close();
  [far, server] = [undefined, undefined];
});

const needs = { purpose: "rl", capabilities: ["images", "tokenExact", "reference"] as const };

async function start(options: Partial<TinkerServerOptions> = {}): Promise<TinkerServer> {
  const home = mkdtempSync(join(folder, "server-"));
  server = await startTinkerServer({ learner: served, preprocessor, folder: home, ...options });
  return server;
}

async function connect(keys: Record<string, unknown> = {}): Promise<Learner> {
  const fast = { retries: 2, retryDelaySeconds: 0, timeoutSeconds: 20 };
  const section = { kind: "tinker", url: server!.url, folder: model, ...fast, ...keys };
  const engine = await resolveEngine(engineSchema.parse(section), { trainable: "language" });
  far = await openLearner(engine, needs, { processorFolder: model, trainable: "language" });
  return far;
}

function seen(shade: number): Chunk[] {
  const { visionStartId, visionEndId } = chat.tokenizer;
  const data = Uint8Array.from({ length: 112 * 112 * 3 }, (_, i) => (i * shade) % 256);
  const { minPixels, maxPixels } = preprocessor;
  const picture = { data, widthPx: 112, heightPx: 112 };
  return [
    {
      type: "text",
      tokens: [...chat.tokenizer.encode("Which digit is on the red star?"), visionStartId],
    },
    { type: "image", image: toModelImage(picture, { minPixels, maxPixels }, preprocessor) },
    { type: "text", tokens: [visionEndId] },
  ];
}

const params = { maxTokens: 8, temperature: 1, topP: 1, topK: 0, stop: [], seed: 3 };
const adam = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.99,
  eps: 1e-2,
  weightDecay: 0,
  clipNorm: 1,
};

/** A datum of a prompt and four tokens that were sampled, with all that losses read. */
async function data(engine: Learner, count: number): Promise<Datum[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const prompt = seen(3 + n);
      const { tokens, logprobs } = await engine.sample(prompt, { ...params, seed: n });
      const chunks = [...prompt, { type: "text" as const, tokens }];
      const length = chunks.reduce(
        (sum, one) => sum + (one.type === "text" ? one.tokens.length : one.image.numTokens),
        0,
      );
      const over = (of: (i: number) => number) =>
        Float32Array.from({ length }, (_unused, t) => {
          const i = t - (length - tokens.length);
          return i < 0 ? 0 : of(i);
        });
      return {
        chunks,
        weights: over(() => 0.25),
        advantages: over((i) => (n % 2 === 0 ? 1 : -1) * (1 + i / 8)),
        oldLogprobs: over((i) => logprobs[i] - 0.1 * i + 0.2),
        refLogprobs: over((i) => logprobs[i] - 0.05 * i),
      };
    }),
  );
}

const policy = { clipLow: 0.2, clipHigh: 0.28, dualClip: null };
const losses: [string, Loss][] = [
  ["cross-entropy", { kind: "crossEntropy" }],
  ["GRPO on fresh samples", { kind: "grpo", ...policy, klCoef: 0, onPolicy: true }],
  ["GRPO with ratio and KL", { kind: "grpo", ...policy, klCoef: 0.1, onPolicy: false }],
  ["GSPO", { kind: "gspo", ...policy, klCoef: 0, onPolicy: false }],
  ["CISPO", { kind: "cispo", ...policy, klCoef: 0.1, onPolicy: false }],
];

test.each(losses)("%s trains as in process, to single precision", async (_, loss) => {
  await start();
  const remote = await connect();
  const examples = await data(near, 5);
  for (let step = 0; step < 3; step++) {
    const here = await near.forwardBackward(examples, loss);
    const there = await remote.forwardBackward(examples, loss);
    expect(there.loss).toBeCloseTo(here.loss, 4);
    expect(there.kl).toBeCloseTo(here.kl, 4);
    expect(there.clipFraction).toBeCloseTo(here.clipFraction, 4);
    for (const [n, { logprobs }] of here.outputs.entries())
      for (const [t, logprob] of logprobs.entries())
        expect(Math.abs(there.outputs[n].logprobs[t] - logprob)).toBeLessThan(1e-4);
    const [ours, theirs] = [await near.optimStep(adam), await remote.optimStep(adam)];
    expect(theirs.gradNorm).toBeCloseTo(ours.gradNorm!, 3);
    expect(theirs.weightsVersion).toBe(step + 1);
  }
});

test("samples are exact; forward, blind and reference say what they say in process", async () => {
  await start();
  const remote = await connect();
  await near.setReference();
  await remote.setReference();
  const prompt = seen(5);
  const sample = await remote.sample(prompt, params);
  const same = await near.sample(prompt, params);
  expect(sample.tokens).toEqual(same.tokens);
  expect(sample.stopReason).toBe(same.stopReason);
  const examples = await data(near, 2);
  for (const engine of [near, remote]) {
    await engine.forwardBackward(examples, { kind: "crossEntropy" });
    await engine.optimStep(adam);
  }
  expect((await remote.sample(prompt, params)).weightsVersion).toBe(1);
  for (const options of [
    {},
    { blind: true },
    { positions: "all" as const },
    { weights: "reference" as const },
  ]) {
    const [here] = await near.forward(examples.slice(1), options);
    const [there] = await remote.forward(examples.slice(1), options);
    for (const [t, logprob] of here.logprobs.entries())
      expect(Math.abs(there.logprobs[t] - logprob)).toBeLessThan(1e-4);
  }
});

test.each([["newer"], ["older"]])("checkpoints are handles; %s servers load them", async (age) => {
  await start(age === "older" ? { flaw: "oldLoad" } : {});
  const remote = await connect();
  const examples = await data(near, 2);
  const step = async () => {
    const { loss } = await remote.forwardBackward(examples, { kind: "crossEntropy" });
    await remote.optimStep(adam);
    return loss;
  };
  await step();
  const saved = await remote.save(folder, { optimizer: true });
  expect(saved).toMatchObject({
    in: "engine",
    handle: expect.stringMatching(/^tinker:\/\/s\d+\/weights\/v1-/),
  });
  const handle = saved.in === "engine" ? saved.handle : "";
  const straight = [await step(), await step()];
  await remote.load(handle, { optimizer: true });
  expect([await step(), await step()]).toEqual(straight);
  expect((await remote.sample(seen(2), params)).weightsVersion).toBe(3);
  await remote.discard!(handle);
  await remote.discard!(handle); // gone already
  await expect(remote.load(handle)).rejects.toThrow(/no checkpoint tinker/);
  await expect(remote.load(folder)).rejects.toThrow("no checkpoint of a Tinker server");
});

test("an engine for sampling only makes no model; one on a checkpoint samples from it", async () => {
  const { log } = await start();
  const section = engineSchema.parse({ kind: "tinker", url: server!.url, folder: model });
  const engine = await resolveEngine(section);
  expect(engine).toMatchObject({ baseModel: "tiny", maxPositions: near.capabilities.maxPositions });
  const sampler = await openSampler(
    engine,
    { purpose: "eval", capabilities: ["images"] },
    { processorFolder: model },
  );
  try {
    expect(sampler.capabilities).toMatchObject({ learn: false, images: true, tokenExact: true });
    expect((await sampler.sample(seen(5), params)).tokens).toEqual(
      (await near.sample(seen(5), params)).tokens,
    );
    expect(log.map(({ path }) => path)).not.toContain("POST create_model");
  } finally {
    await sampler.close();
  }
  expect(log.at(-1)?.path).toBe("POST sessions/s0/finish");
});

describe("what a server cannot do is said before work starts", () => {
  test("images that it drops", async () => {
    await start({ flaw: "dropsImages" });
    await expect(connect()).rejects.toThrow("rl: tinker:tiny lacks images (images in prompts)");
  });

  test("losses that it normalises", async () => {
    await start({ flaw: "normalises" });
    const remote = await connect();
    const examples = await data(near, 2);
    await expect(remote.forwardBackward(examples, { kind: "crossEntropy" })).rejects.toThrow(
      "it normalises weights",
    );
  });

  test("losses that it does not tell, unless somebody vouches for them", async () => {
    await start({ flaw: "noLoss" });
    const examples = await data(near, 2);
    const remote = await connect();
    await expect(remote.forwardBackward(examples, { kind: "crossEntropy" })).rejects.toMatchObject({
      code: "usage",
      hint: expect.stringContaining("unverifiedSums"),
    });
    await remote.close();
    const trusting = await connect({ unverifiedSums: true });
    await trusting.forwardBackward(examples, { kind: "crossEntropy" });
  });

  test("temperatures, adapters of the tower, weights of a folder, models that are not there", async () => {
    await start();
    const config = engineSchema.parse({ kind: "tinker", url: server!.url, folder: model });
    await expect(resolveEngine(config, { trainable: "all" })).rejects.toThrow("language model");
    const other = engineSchema.parse({ ...config, baseModel: "other" });
    await expect(resolveEngine(other)).rejects.toMatchObject({
      code: "usage",
      hint: "engine.baseModel: one of tiny",
    });
    const remote = await connect();
    const [datum] = await data(near, 1);
    await expect(remote.forward([{ ...datum, temperature: 0.7 }])).rejects.toMatchObject({
      hint: expect.stringContaining("rl.temperature"),
    });
  });
});

describe("faults on the line", () => {
  const once = (
    path: string,
    fault: ReturnType<NonNullable<TinkerServerOptions["fault"]>>,
    times = 1,
  ) => ({ fault: (at: string, n: number) => (at === path && n < times ? fault : null) }) as const;

  test.each([
    [
      "a busy server",
      once("forward_backward", { status: 429, headers: { "retry-after-ms": "1" } }),
    ],
    ["a failing server", once("forward_backward", { status: 503 }, 2)],
    ["a cut connection", once("optim_step", "cut")],
    ["an answer that is lost", once("optim_step", "lateCut")],
    ["a lost ticket", once("retrieve_future", { status: 410 }, 2)],
    [
      "results that are not there yet",
      once(
        "retrieve_future",
        { status: 200, body: { type: "try_again", queue_state: "active" } },
        3,
      ),
    ],
    ["a poll that runs out", once("retrieve_future", { status: 408 }, 2)],
    [
      "a result to be fetched whole",
      once("retrieve_future", { status: 200, body: { status: "complete_metadata" } }),
    ],
    ["malformed JSON", once("optim_step", { status: 200, body: "{" })],
  ])("%s costs time, and nothing else", async (_, options) => {
    await start(options);
    const remote = await connect();
    const examples = await data(near, 4);
    for (const engine of [near, remote]) {
      await engine.forwardBackward(examples, { kind: "crossEntropy" });
      await engine.optimStep(adam);
    }
    const [here, there] = [await near.forward(examples), await remote.forward(examples)];
    for (const [n, { logprobs }] of here.entries())
      for (const [t, logprob] of logprobs.entries())
        expect(Math.abs(there[n].logprobs[t] - logprob)).toBeLessThan(1e-4);
  });

  test.each([
    [
      "a key that is wrong",
      once("client/config", { status: 401, body: { detail: "bad key" } }, 9),
      /401: .*bad key/,
      "usage",
    ],
    ["a server of another kind", once("client/config", { status: 404 }, 9), /404/, "usage"],
    [
      "an answer that is none",
      once("create_session", { status: 200, body: "[]" }, 9),
      /no JSON object/,
      "io",
    ],
    [
      "an answer without its ticket",
      once("create_model", { status: 200, body: {} }, 9),
      /without the ticket/,
      "io",
    ],
    [
      "a session without a name",
      once("create_session", { status: 200, body: {} }, 9),
      /create_session: session_id/,
      "input",
    ],
    [
      "a call that fails",
      once(
        "retrieve_future",
        { status: 200, body: { error: "out of memory", category: "server" } },
        9,
      ),
      /create_model: out of memory/,
      "io",
    ],
    [
      "tickets that are lost for ever",
      once("retrieve_future", { status: 410 }, 99),
      /lost the ticket/,
      "io",
    ],
  ])("%s is told by name", async (_, options, message, code) => {
    await start(options);
    await expect(connect()).rejects.toMatchObject({
      message: expect.stringMatching(message),
      code,
    });
  });

  test("a server that is silent, one that is gone, and a result that never comes", async () => {
    await start(once("create_session", "hang", 9));
    await expect(connect({ timeoutSeconds: 0.2, retries: 0 })).rejects.toThrow("no sign of life");
    await server!.close();
    const config = { kind: "tinker", url: server!.url, folder: model, retries: 0 };
    await expect(resolveEngine(engineSchema.parse(config))).rejects.toThrow("connection refused");
    await start(
      once(
        "retrieve_future",
        { status: 200, body: { type: "try_again", queue_state: "paused_capacity" } },
        999,
      ),
    );
    await expect(connect({ resultSeconds: 0.2 })).rejects.toThrow(
      /create_model: no result within 0.2 s \(paused_capacity\)/,
    );
  });

  test("samples that are none cost one call; an abort ends the wait", async () => {
    let answer: TinkerFault | null = null;
    await start({ fault: (path) => (path === "retrieve_future" ? answer : null) });
    const remote = await connect();
    await remote.sample(seen(4), params);
    const sampled = async (result: Uint8Array) => {
      answer = { status: 200, body: result };
      return remote.sample(seen(4), params);
    };
    for (const [result, message] of [
      [writeSample([], null, null), "without a sample"],
      [writeSample([[]], [[]], null), "has no tokens"],
      [writeSample([[1, 2]], null, null), "no log-probabilities for 2 tokens"],
      [writeSample([[1, 2]], [[-1]], null), "1 log-probabilities for 2 tokens"],
      [writeSample([Array(9).fill(1)], [Array(9).fill(-1)], null), "9 tokens, not 8 at most"],
    ] as const) {
      const failed = sampled(result);
      await expect(failed).rejects.toThrow(message);
      await expect(failed).rejects.toBeInstanceOf(ReplyFault);
    }
    answer = "hang";
    const controller = new AbortController();
    const waiting = remote.sample(seen(4), params, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error("enough")), 50);
    await expect(waiting).rejects.toThrow("enough");
  });
});

test("the key comes from the environment, is sent, and stands in no section", async () => {
  const { log } = await start();
  vi.stubEnv("TINKER_TEST_KEY", "tml-secret");
  try {
    const config = engineSchema.parse({
      kind: "tinker",
      url: server!.url,
      folder: model,
      apiKeyEnv: "TINKER_TEST_KEY",
    });
    const resolved = await resolveEngine(config);
    expect(JSON.stringify(resolved)).not.toContain("tml-secret");
    expect(log.every(({ key }) => key === "tml-secret")).toBe(true);
  } finally {
    vi.unstubAllEnvs();
  }
  const unset = engineSchema.parse({
    kind: "tinker",
    url: server!.url,
    folder: model,
    apiKeyEnv: "NOT_SET_ANYWHERE",
  });
  await expect(resolveEngine(unset)).rejects.toThrow("the variable NOT_SET_ANYWHERE is not set");
});
