import { expect, test } from "vitest";
import { grpoData, hasGradient, selectRollouts, splitUpdates, type Rollout } from "./batch.ts";

function rollout(reward: number, status: Rollout["status"] = "complete"): Rollout {
  return {
    id: `r${reward}`,
    chunks: [{ type: "text", tokens: [1, 2, 3] }],
    mask_T: Float32Array.of(0, 1, 1),
    logprobs_T: Float32Array.of(0, -1, -1),
    reward,
    status,
    imageHashes: [],
    weightsVersion: 0,
  };
}

const base = { advantage: "centred", zeroVariance: "drop", overlong: "exclude" } as const;
const advantages = (groups: Rollout[][], config: Parameters<typeof selectRollouts>[1]) =>
  selectRollouts(groups, config).rollouts_N.map((r) => r.advantage);

test("flat groups are dropped and counted, or kept with advantage 0", () => {
  const groups = [
    [rollout(1), rollout(1)],
    [rollout(1), rollout(0)],
  ];
  const selection = selectRollouts(groups, base);
  expect(selection).toMatchObject({ numGroups: 2, numZeroVariance: 1, numOverlong: 0 });
  expect(selection.rollouts_N.map((r) => r.advantage)).toEqual([0.5, -0.5]);
  expect(advantages(groups, { ...base, zeroVariance: "keep" })).toEqual([0, 0, 0.5, -0.5]);
});

test("an episode without advantage counts in the average and is not read", () => {
  const group = [rollout(0.1), rollout(0.1), rollout(0.1)];
  const { rollouts_N } = selectRollouts([group], { ...base, zeroVariance: "keep" });
  expect(rollouts_N.map((r) => r.advantage)).toEqual([0, 0, 0]);
  expect(rollouts_N.map((r) => hasGradient(r, { klCoef: 0 }))).toEqual([false, false, false]);
  expect(hasGradient(rollouts_N[0], { klCoef: 0.01 })).toBe(true);
});

test("episodes that were cut off: excluded, masked as the repository does, or kept", () => {
  const group = [[rollout(1), rollout(0.5), rollout(0.6, "cutOff")]];
  expect(advantages(group, base)).toEqual([0.25, -0.25]);
  expect(advantages(group, { ...base, overlong: "mask" })).toEqual([0.5, 0]);
  expect(advantages(group, { ...base, overlong: "keep" }).length).toBe(3);
  const failed = [[rollout(1), rollout(0.5), rollout(0, "failed")]];
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

test("data carry weights and advantages; bad ones stop the run and name the episode", () => {
  const chosen = { ...rollout(1), advantage: 0.5 };
  const [datum] = grpoData([chosen], [{}], { kind: "tokenMean" });
  expect([...datum.weights]).toEqual([0, 0.5, 0.5]);
  expect([...datum.advantages!]).toEqual([0.5, 0.5, 0.5]);
  const short = { refLogprobs_T: new Float32Array(2) };
  expect(() => grpoData([chosen], [short], { kind: "tokenMean" })).toThrow(
    "r1: refLogprobs has 2 entries for 3 positions",
  );
  const nan = { ...chosen, advantage: NaN };
  expect(() => grpoData([nan], [{}], { kind: "tokenMean" })).toThrow("r1: advantages[0] is NaN");
  expect(() => grpoData([], [], { kind: "tokenMean" })).toThrow("empty batch");
});
