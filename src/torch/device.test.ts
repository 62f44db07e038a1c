import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { addonPath } from "./addon.ts";
import {
  cudaAvailable,
  cudaMemory,
  manualSeed,
  numThreads,
  resolveDevice,
  rngState,
  setNumThreads,
  setRngState,
  torchFacts,
  torchVersion,
} from "./device.ts";
import { randn } from "./ops.ts";
import { liveTensors, scope } from "./scope.ts";

/** Uses the addon alone, as a worker without a TypeScript loader can. */
const workerCode = `
const { createRequire } = require("node:module");
const { parentPort, workerData } = require("node:worker_threads");
const native = createRequire(workerData)(workerData);
const mm = native.op("aten::matmul");
const ids = [];
for (let i = 0; i < 200; i++) {
  const a = native.fromBytes(new Float32Array(64).fill(i), [8, 8], 6);
  ids.push(native.call(mm, a, a));
}
const last = new Float32Array(native.toBytes(ids.at(-1)))[0];
let message = "";
try { native.call(mm, 1); } catch (error) { message = error.message; }
parentPort.postMessage({ live: native.liveCount(), last, message });
`;

function runWorker(): Promise<{ live: number; last: number; message: string }> {
  const addon = addonPath();
  return new Promise((resolve, reject) => {
    const worker = new Worker(workerCode, { eval: true, workerData: addon });
    let answer: { live: number; last: number; message: string } | undefined;
    worker.on("message", (message: typeof answer) => (answer = message));
    worker.on("error", reject);
    worker.on("exit", () =>
      answer === undefined ? reject(new Error("the worker said nothing")) : resolve(answer),
    );
  });
}

describe("devices and the system", () => {
  it("serves several workers at once, each with tensors of its own, freed at its end", async () => {
    const before = liveTensors();
    const answers = await Promise.all([runWorker(), runWorker(), runWorker()]);
    for (const { live, last, message } of answers) {
      expect(live).toBe(400);
      expect(last).toBe(8 * 199 * 199);
      expect(message).toContain("argument 'other' is missing");
    }
    expect(liveTensors()).toBe(before);
  });

  it("repeats random numbers from a seed and from a saved state", () => {
    scope(() => {
      manualSeed(5);
      const first = randn([4]).toNumbers();
      const state = rngState();
      const second = randn([4]).toNumbers();
      manualSeed(5);
      expect(randn([4]).toNumbers()).toEqual(first);
      setRngState(state);
      expect(randn([4]).toNumbers()).toEqual(second);
      expect(second).not.toEqual(first);
    });
  });

  it("tells what it runs on", () => {
    expect(torchVersion()).toMatch(/^\d+\.\d+\.\d+/);
    const facts = torchFacts();
    expect(facts.threads).toBe(numThreads());
    expect(facts.blas.length).toBeGreaterThan(2);
    const threads = numThreads();
    setNumThreads(2);
    expect(numThreads()).toBe(2);
    setNumThreads(threads);
    expect(() => setNumThreads(0)).toThrow("1 to 4096");
  });

  it("resolves device names and refuses absent ones", () => {
    expect(resolveDevice("cpu")).toBe("cpu");
    expect(resolveDevice("auto")).toBe(cudaAvailable() ? "cuda:0" : "cpu");
    expect(() => resolveDevice("cuda:99")).toThrow(/cuda:99: libtorch sees \d+ CUDA devices/);
    expect(() => resolveDevice("tpu")).toThrow("no such device");
    expect(cudaMemory() === null).toBe(!cudaAvailable());
  });
});
