import { expect, test } from "vitest";
import { VigorlError } from "../core/errors.ts";
import type { Sample, SampleParams, Sampler } from "../engine/types.ts";
import { CallPool, mayStillSucceed, Meter } from "./call-pool.ts";

const limits = { calls: 2, callTimeoutSeconds: 60, retries: 3, retryDelaySeconds: 0 };
const params: SampleParams = { maxTokens: 4, temperature: 1, topP: 1, topK: 0, stop: [], seed: 1 };
const prompt = [{ type: "text", tokens: [1, 2, 3] }] as const;
const sample: Sample = { tokens: [5, 6], logprobs: [0, 0], stopReason: "eos", weightsVersion: 0 };

/** Answers each call with what `answer` says; "hang" never ends and does not listen. */
class Server implements Sampler {
  readonly capabilities = {
    name: "server",
    sample: true,
    learn: false,
    tokenExact: true,
    maxPositions: 100,
  };
  calls = 0;
  inFlight = 0;
  mostInFlight = 0;
  private readonly answer: (call: number) => Error | "hang" | Sample;

  constructor(answer: (call: number) => Error | "hang" | Sample) {
    this.answer = answer;
  }

  async sample(): Promise<Sample> {
    const answer = this.answer(this.calls++);
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    try {
      await new Promise((resolve) => setImmediate(resolve));
      if (answer === "hang") await new Promise(() => undefined);
      if (answer instanceof Error) throw answer;
      return answer as Sample;
    } finally {
      this.inFlight--;
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

test("at most so many calls are in flight, and all are answered", async () => {
  const server = new Server(() => sample);
  const pool = new CallPool(server, limits);
  const all = await Promise.all(Array.from({ length: 20 }, () => pool.sample(prompt, params)));
  expect(all).toHaveLength(20);
  expect(server.mostInFlight).toBe(2);
});

test("what may succeed yet is tried again, and counted", async () => {
  const cut = new VigorlError("io", "cut");
  const server = new Server((call) => (call < 3 ? cut : sample));
  const pool = new CallPool(server, limits);
  const meter = new Meter(pool);
  expect(await meter.sample(prompt, params)).toBe(sample);
  expect(server.calls).toBe(4);
  expect(pool.numRetries).toBe(3);
  expect(meter.numCalls).toBe(1);
  expect(meter.numTokens).toEqual({ prompt: 3, model: 2 });
});

test("the last failure is thrown; a mistake is not tried again", async () => {
  const cut = new VigorlError("io", "cut");
  const stubborn = new Server(() => cut);
  await expect(new CallPool(stubborn, limits).sample(prompt, params)).rejects.toBe(cut);
  expect(stubborn.calls).toBe(4);
  const refused = new VigorlError("usage", "401");
  const strict = new Server(() => refused);
  await expect(new CallPool(strict, limits).sample(prompt, params)).rejects.toBe(refused);
  expect(strict.calls).toBe(1);
});

test("a call that never ends gives its slot back, even where the sampler does not listen", async () => {
  const server = new Server((call) => (call < 2 ? "hang" : sample));
  const pool = new CallPool(server, { ...limits, callTimeoutSeconds: 0.02 });
  const all = await Promise.all(Array.from({ length: 6 }, () => pool.sample(prompt, params)));
  expect(all.every((one) => one === sample)).toBe(true);
  expect(server.calls).toBe(8);
});

test("an abort frees the slot, empties the queue and throws its own reason", async () => {
  const server = new Server((call) => (call < 2 ? "hang" : sample));
  const pool = new CallPool(server, limits);
  const controller = new AbortController();
  const { signal } = controller;
  const waiting = Array.from({ length: 5 }, () => pool.sample(prompt, params, { signal }));
  await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort(new VigorlError("interrupted", "by hand"));
  for (const one of waiting) await expect(one).rejects.toThrow("by hand");
  expect(server.calls).toBe(2);
  expect(await pool.sample(prompt, params)).toBe(sample);
  await expect(pool.sample(prompt, params, { signal })).rejects.toThrow("by hand");
});

test("cut connections and time-outs are worth another try, mistakes and bugs are not", () => {
  const reset = Object.assign(new Error("reset"), { code: "ECONNRESET" });
  expect(mayStillSucceed(reset)).toBe(true);
  expect(mayStillSucceed(new TypeError("fetch failed", { cause: reset }))).toBe(true);
  expect(mayStillSucceed(new DOMException("late", "TimeoutError"))).toBe(true);
  expect(mayStillSucceed(new VigorlError("io", "503"))).toBe(true);
  expect(mayStillSucceed(new VigorlError("input", "400"))).toBe(false);
  expect(mayStillSucceed(new TypeError("x is not a function"))).toBe(false);
});
