import { expect, test } from "vitest";
import { hasGradient, selectEpisodes, splitUpdates, updateData } from "./batch.ts";
import { scored } from "./fixtures/scored.ts";
import type { ScoredEpisode } from "./rollouts.ts";

const base = { advantage: "centred", zeroVariance: "drop", overlong: "exclude" } as const;
const advantages = (groups: ScoredEpisode[][], config: Parameters<typeof selectEpisodes>[1]) =>
  selectEpisodes(groups, config).episodes_N.map((r) => r.advantage);

test("flat groups are dropped and counted, or kept with advantage 0", () => {
  const groups = [
    [scored(1), scored(1)],
    [scored(1), scored(0)],
  ];
  const selection = selectEpisodes(groups, base);
  expect(selection).toMatchObject({ numGroups: 2, numZeroVariance: 1, numOverlong: 0 });
  expect(selection.episodes_N.map((r) => r.advantage)).toEqual([0.5, -0.5]);
  expect(advantages(groups, { ...base, zeroVariance: "keep" })).toEqual([0, 0, 0.5, -0.5]);
});

test("an episode without advantage counts in the average and is not read", () => {
  const group = [scored(0.1), scored(0.1), scored(0.1)];
  const { episodes_N } = selectEpisodes([group], { ...base, zeroVariance: "keep" });
  expect(episodes_N.map((r) => r.advantage)).toEqual([0, 0, 0]);
  expect(episodes_N.map((r) => hasGradient(r, { klCoef: 0 }))).toEqual([false, false, false]);
  expect(hasGradient(episodes_N[0], { klCoef: 0.01 })).toBe(true);
});

test("episodes that were cut off: excluded, masked as the repository does, or kept", () => {
  const group = [[scored(1), scored(0.5), scored(0.6, "cutOff")]];
  expect(advantages(group, base)).toEqual([0.25, -0.25]);
  expect(advantages(group, { ...base, overlong: "mask" })).toEqual([0.5, 0, -0.5]);
  expect(advantages(group, { ...base, overlong: "keep" }).length).toBe(3);
  const failed = [[scored(1), scored(0.5), scored(0, "failed")]];
  expect(advantages(failed, { ...base, overlong: "keep" })).toEqual([0.25, -0.25]);
});

test("updates share the episodes evenly, each once, in a seeded order", () => {
  const parts = splitUpdates(10, 3, 7, 4, 0);
  expect(parts.map((part) => part.length)).toEqual([3, 3, 4]);
  expect(parts.flat().sort((a, b) => a - b)).toEqual([...Array(10).keys()]);
  expect(splitUpdates(10, 3, 7, 4, 0)).toEqual(parts);
  expect(splitUpdates(10, 3, 7, 4, 1)).not.toEqual(parts);
  expect(splitUpdates(3, 1, 7, 4, 0)).toEqual([[0, 1, 2]]);
  expect(splitUpdates(0, 4, 7, 4, 0)).toEqual([]);
  expect(splitUpdates(2, 16, 7, 4, 0).length).toBe(2);
});

test("a datum keeps what it was sampled at; only weights change from update to update", () => {
  const { episodes_N } = selectEpisodes([[scored(1), scored(0)]], base);
  expect(episodes_N[0].datum).toEqual({
    chunks: [{ type: "text", tokens: [1, 2, 3] }],
    temperature: 0.7,
    weights: Float32Array.of(0, 1, 1),
    advantages: Float32Array.of(0.5, 0.5, 0.5),
  });
  const [datum] = updateData(episodes_N.slice(0, 1), { kind: "tokenMean" });
  expect(datum).toEqual({ ...episodes_N[0].datum, weights: Float32Array.of(0, 0.5, 0.5) });
  expect(() => updateData([], { kind: "tokenMean" })).toThrow("empty batch");
});

test("masked episodes keep their place in micro-batches and in the divisor", () => {
  const group = [scored(1), scored(0, "cutOff"), scored(0, "cutOff"), scored(0, "cutOff")];
  const { episodes_N } = selectEpisodes([group], { ...base, overlong: "mask" });
  expect(episodes_N.map((one) => one.advantage)).toEqual([0.75, -0.25, -0.25, -0.25]);
  expect(episodes_N.map((one) => hasGradient(one, { klCoef: 0.1 }))).toEqual([
    true,
    false,
    false,
    false,
  ]);
  const [first, second] = updateData(episodes_N, { kind: "microBatchMean", microBatch: 2 });
  expect([...first.weights]).toEqual([0, 0.25, 0.25]);
  expect([...second.weights]).toEqual([0, 0, 0]);
});

test("a bad number stops the run and names the episode", () => {
  const select = () => selectEpisodes([[scored(NaN), scored(0)]], base);
  expect(select).toThrow("reward 0 of a group is NaN");
});
