import { expect, test } from "vitest";
import { z } from "zod";
import { parseConfig } from "../core/config.ts";
import { optimParams, requireSomeRate } from "./optimizer.ts";
import { rlSchema } from "./rl-config.ts";
import { sftSchema } from "./sft-config.ts";

const rl = (input: object) => rlSchema.parse(input);

test("presets of the published hyper-parameters", () => {
  const common = { steps: 500, learningRate: 1e-6, weightDecay: 0.01, klCoef: 0.01 };
  const more = { clipLow: 0.2, clipHigh: 0.28, promptsPerStep: 128, temperature: 1, topP: 0.99 };
  for (const profile of ["paper", "paper-multi", "repo", "repo-multi"])
    expect(rl({ profile })).toMatchObject({ ...common, ...more, trainable: "language" });
  const table = {
    paper: { groupSize: 5, warmupRatio: 0.05, clipNorm: 1, advantage: "centred", dualClip: null },
    "paper-multi": { groupSize: 8, warmupRatio: 0.05, clipNorm: 0.2, advantage: "centred" },
    repo: { groupSize: 5, warmupRatio: 0, clipNorm: 1, advantage: "normalised", dualClip: 3 },
    "repo-multi": { groupSize: 8, warmupRatio: 0.05, clipNorm: 0.2, advantage: "normalised" },
  };
  for (const [profile, numbers] of Object.entries(table))
    expect(rl({ profile })).toMatchObject(numbers);
  const episodesPerUpdate = ["paper", "repo", "paper-multi", "repo-multi"].map((profile) => {
    const { promptsPerStep, groupSize, numUpdates } = rl({ profile });
    return (promptsPerStep * groupSize) / numUpdates;
  });
  expect(episodesPerUpdate).toEqual([32 * 5, 64 * 5, 64 * 8, 64]);
});

test("presets of the warm start", () => {
  const common = { batchSize: 32, learningRate: 1e-6, warmupRatio: 0.03, schedule: "cosine" };
  expect(sftSchema.parse({ profile: "paper" })).toMatchObject({ ...common, epochs: 3 });
  expect(sftSchema.parse({ profile: "repo" })).toMatchObject({ ...common, epochs: 1 });
});

test("a loss brings its authors' clips along; what it has no use for is refused", () => {
  expect(rl({})).toMatchObject({ loss: "grpo", clipHigh: 0.28, dualClip: 3 });
  expect(rl({ loss: "gspo" })).toMatchObject({
    clipLow: 3e-4,
    clipHigh: 4e-4,
    dualClip: null,
    aggregation: "sequenceMean",
  });
  const written = { profile: "repo", loss: "cispo", clipHigh: 2 };
  expect(rl(written)).toMatchObject({ clipLow: 1, clipHigh: 2, aggregation: "tokenMean" });
  expect(() => rl({ loss: "cispo", dualClip: 3 })).toThrow("cispo has no use for it");
});

test("sampling that the loss would not know of is refused", () => {
  const recipe = z.strictObject({ rl: rlSchema.prefault({}) });
  const read = (text: string) => () => parseConfig(`rl:\n  ${text}`, "rl.yaml", recipe);
  expect(read("temperature: 0")).toThrow(/rl\.temperature: must be above 0: greedy episodes/);
  expect(read("temperature: 1e-50")).toThrow("greedy episodes");
  expect(read("topP: 0.9")).toThrow(/rl\.yaml:2: rl\.topP: must be 1.*draw from fewer/);
  expect(read("topK: 20")).toThrow("draw from fewer");
  expect(rl({ topP: 0.9, truncation: "ignored" })).toMatchObject({ topP: 0.9 });
});

test("the published rules of cut-off answers, warm-up and decay", () => {
  const of = (profile: string) => {
    const { overlong, warmup, decayNorms, moments, masters } = rl({ profile });
    return { overlong, warmup, decayNorms, state: [moments, masters] };
  };
  const theirs = { warmup: "perStep", decayNorms: true, state: ["bfloat16", "kahan"] };
  expect(of("repo")).toEqual({ overlong: "keep", ...theirs });
  expect(of("repo-multi")).toEqual({ overlong: "mask", ...theirs });
  const ours = { warmup: "perUpdate", decayNorms: false, state: ["float32", "float32"] };
  expect(of("paper")).toEqual({ overlong: "keep", ...ours });
  expect(of("paper-multi")).toMatchObject({ overlong: "mask" });
  const repo = rl({ profile: "repo-multi" });
  const rate = (k: number) => optimParams(repo, k, repo.steps).learningRate;
  const rates = [0, 1, 24, 25, 499].map((k) => +(rate(k) * 1e6).toFixed(9));
  expect(rates).toEqual([0, 0.04, 0.96, 1, 1]);
  const cold = rl({ profile: "repo" });
  expect([0, 1].map((k) => optimParams(cold, k, 500).learningRate)).toEqual([0, 1e-6]);
  expect(() => requireSomeRate("rl", cold, 1)).toThrow("rl: all of its steps (1)");
  expect(() => requireSomeRate("rl", cold, 2)).not.toThrow();
  const sft = sftSchema.parse({ profile: "repo" });
  expect(sft).toMatchObject({ aggregation: "sequenceMean", trainLineBreak: true });
  const warm = [0, 1, 3].map((k) => optimParams(sft, k, 100).learningRate * 3e6);
  expect(warm.map((x) => +x.toFixed(9))).toEqual([0, 1, 3]);
});

test("what is written beats the preset; an empty section is valid; unknown keys are not", () => {
  expect(rl({ profile: "repo", groupSize: 4 })).toMatchObject({ groupSize: 4, dualClip: 3 });
  expect(rl({})).toMatchObject({ groupSize: 8, profile: "default", parity: { enabled: true } });
  expect(sftSchema.parse({})).toMatchObject({ epochs: 2, collect: { balance: true } });
  const recipe = z.strictObject({ rl: rlSchema.prefault({}) });
  const read = (text: string) => () => parseConfig(text, "rl.yaml", recipe);
  expect(read("rl:\n  groupSize: 1")).toThrow(
    "rl.yaml:2: rl.groupSize must be ≥ 2 (got 1); set it to 8",
  );
  expect(read("rl:\n  grupSize: 8")).toThrow("did you mean groupSize?");
});

test("the rate warms up, then stays or falls along a cosine", () => {
  const config = rl({ learningRate: 1, warmupRatio: 0.1 });
  const rates = (schedule: "constant" | "cosine") =>
    [0, 1, 2, 11, 19].map((i) => optimParams({ ...config, schedule }, i, 20).learningRate);
  expect(rates("constant").map((rate) => +rate.toFixed(4))).toEqual([0.3333, 0.6667, 1, 1, 1]);
  const cosine = rates("cosine");
  expect(cosine[2]).toBe(1);
  expect(cosine[3]).toBeCloseTo(0.5);
  expect(cosine[4]).toBeLessThan(0.01);
});
