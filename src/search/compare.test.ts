import { expect, test } from "vitest";
import { compareWithSamples } from "./compare.ts";
import { runOptions, someRecords } from "./fixtures/search-run.ts";
import { smallTree } from "./fixtures/small-tree.ts";
import { TableSampler, type Teacher } from "./fixtures/table-sampler.ts";
import { answerTurn } from "../task/fixtures/scene.ts";

test("questions solved by one, three, and by the tree's tokens", async () => {
  const guess: Teacher = (_, random) => answerTurn(random.chance(0.3) ? "7" : "1");
  const { episode, config, seed } = runOptions("", null);
  const records = new Map(someRecords(16).map((record) => [record.id, record]));
  const about = { sampler: new TableSampler(guess), episode, config, seed, records };
  const trees = (model: number) =>
    [...records.keys()].map((recordId, i) => ({
      ...smallTree,
      recordId,
      numCorrect: i % 2,
      numTokens: { prompt: 0, model },
    }));
  const poor = await compareWithSamples({ ...about, trees: trees(1) });
  const rich = await compareWithSamples({ ...about, trees: trees(1500) });
  expect(poor.questions).toBe(16);
  expect(poor.search).toMatchObject({ solved: 8, share: 0.5 });
  expect(poor.equalTokens.solved).toBe(poor.one.solved);
  expect(poor.one.solved).toBeGreaterThan(0);
  expect(poor.three.solved).toBeGreaterThan(poor.one.solved);
  expect(rich.one).toEqual(poor.one);
  expect(rich.three).toEqual(poor.three);
  expect(rich.equalTokens.solved).toBe(16);
  expect(rich.tokensPerTree).toBe(1500);
});

test("a sampler that fails fails the comparison, and no tree is no comparison", async () => {
  const { episode, config, seed } = runOptions("", null);
  const records = new Map(someRecords(16).map((record) => [record.id, record]));
  const trees = [...records.keys()].map((recordId) => ({ ...smallTree, recordId }));
  const broken = new TableSampler(() => {
    throw new Error("the line is cut");
  });
  const about = { episode, config, seed, records };
  await expect(compareWithSamples({ ...about, sampler: broken, trees })).rejects.toThrow(
    "the line is cut",
  );
  const sound = new TableSampler(() => answerTurn("7"));
  await expect(compareWithSamples({ ...about, sampler: sound, trees: [] })).rejects.toMatchObject({
    code: "input",
  });
});
