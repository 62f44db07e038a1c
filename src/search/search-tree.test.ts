import { describe, expect, test } from "vitest";
import { answerTurn, digitRecord, smallConfig, zoomCall } from "../task/fixtures/scene.ts";
import type { TaskRecord } from "../task/record.ts";
import { LinedSampler } from "../engine/openai/fixtures/lined.ts";
import {
  TableSampler,
  ponderer,
  searcher,
  thinker,
  type Teacher,
} from "./fixtures/table-sampler.ts";
import { isCovered, placesOf } from "./places.ts";
import { callsPerSimulation, rulesOf, searchConfig } from "./search-config.ts";
import { searchTree } from "./search-tree.ts";
import { treeLineSchema, walk, withoutClock, type NodeLine, type TreeLine } from "./tree-line.ts";

const sideRecord: TaskRecord = {
  ...digitRecord,
  id: "side-1",
  kind: "choice",
  answer: "right",
  choices: ["left", "right"],
};

async function grow(
  teacher: Teacher,
  settings: Record<string, unknown>,
  options: { calls?: number; seed?: number; record?: TaskRecord } = {},
): Promise<{ tree: TreeLine; sampler: TableSampler }> {
  const config = searchConfig.parse(settings);
  const hasTurns = config.steps === "turn";
  const episode = smallConfig({
    ...(hasTurns ? {} : { tools: {} }),
    episode: { maxTurns: 4, maxToolImages: 3 },
  });
  const sampler = new TableSampler(teacher);
  const tree = await searchTree({
    sampler: new LinedSampler(sampler, { concurrency: options.calls ?? 64 }),
    record: options.record ?? (hasTurns ? digitRecord : sideRecord),
    episode,
    rules: rulesOf(config, episode),
    seed: options.seed ?? 1,
  });
  return { tree, sampler };
}

const nodesOf = (tree: TreeLine): NodeLine[] => Array.from(walk(tree.root), (path) => path.at(-1)!);

test("the published budget is 33 calls a simulation", async () => {
  expect(callsPerSimulation(searchConfig.parse({ profile: "repo" }))).toBe(33);
  expect(searchConfig.parse({ profile: "repo" }).simulations).toBe(8);
  expect(searchConfig.parse({ profile: "paper" }).simulations).toBe(20);
  expect(searchConfig.parse({ profile: "paper", simulations: 3 }).simulations).toBe(3);
  for (const profile of ["paper", "repo"] as const) {
    const { tree } = await grow(ponderer, { profile, simulations: 3 });
    expect(tree.numCalls).toBe(3 * 33);
    expect(tree.simulations).toBe(3);
  }
});

test("a rollout that never answers is no answer, however right its thoughts sound", async () => {
  const { tree } = await grow(ponderer, { profile: "repo", simulations: 2 });
  const rollouts = nodesOf(tree).flatMap((node) => node.rollouts);
  expect(rollouts).toHaveLength(2 * 3 * 2);
  for (const { answer, reward, end, steps } of rollouts) {
    expect({ answer, reward, end }).toEqual({ answer: null, reward: 0, end: "stepLimit" });
    expect(steps.at(-1)!.forced).toBe(true);
  }
  expect(tree.root.value).toBe(0);
  expect(tree.numCorrect).toBe(0);
});

describe.each([
  ["turn", searcher],
  ["thought", thinker],
  ["packed", thinker],
] as const)("%s steps", (steps, teacher) => {
  test.each([1, 2, 3])("a tree holds together (seed %i)", async (seed) => {
    const { tree, sampler } = await grow(teacher, { steps, wave: 2, simulations: 8 }, { seed });
    expect(treeLineSchema.parse(JSON.parse(JSON.stringify(tree)))).toEqual(
      JSON.parse(JSON.stringify(tree)),
    );
    expect(tree.numCalls).toBe(sampler.numCalls);
    expect(tree.numCalls).toBeLessThanOrEqual(tree.simulations * 33);
    expect(tree.numNodes).toBeGreaterThan(3);
    for (const path of walk(tree.root)) {
      const node = path.at(-1)!;
      const below = node.children.reduce((sum, child) => sum + child.visits, 0);
      expect(node.visits).toBe(below + node.rollouts.length);
      const mean =
        node.rollouts.reduce((sum, { reward }) => sum + reward, 0) +
        node.children.reduce((sum, child) => sum + child.value * child.visits, 0);
      expect(node.value * node.visits).toBeCloseTo(mean, 9);
      expect(path.length - 1).toBeLessThanOrEqual(11);
      if (node.step === null) continue;
      if (node.step.answer !== null) {
        expect(node.children).toEqual([]);
        expect(node.visits).toBe(1);
      } else expect(node.rollouts).toHaveLength(2);
      const above = path.slice(1, -1).flatMap((one) => placesOf(one.step!));
      const places = placesOf(node.step);
      if (node.step.answer === null && places.length > 0)
        expect(isCovered(places, above, 10)).toBe(false);
    }
    const answers = nodesOf(tree).map((node) =>
      node.children.flatMap(({ step }) => (step?.answer == null ? [] : [step.answer])),
    );
    for (const siblings of answers) expect(new Set(siblings).size).toBe(siblings.length);
  });

  test("calls at once change nothing, simulations at once are a setting", async () => {
    for (const wave of [1, 4]) {
      const one = await grow(teacher, { steps, wave, simulations: 6 }, { calls: 1 });
      const many = await grow(teacher, { steps, wave, simulations: 6 }, { calls: 64 });
      expect(one.sampler.mostInFlight).toBe(1);
      expect(many.sampler.mostInFlight).toBeGreaterThan(1);
      expect(withoutClock(many.tree)).toEqual(withoutClock(one.tree));
    }
  });
});

test("a child sees the crop that its parent asked for", async () => {
  const looker: Teacher = ({ text, numImages }, random) => {
    if (numImages > 1) return answerTurn(text.includes("[90, 80]") ? "7" : "3");
    return random.chance(0.5) ? zoomCall(90, 80) : zoomCall(20, 20);
  };
  const { tree } = await grow(looker, { steps: "turn", simulations: 6 });
  const places = tree.root.children.map(({ step, children }) => ({
    at: step!.toolUse!.at,
    box: step!.picture!.box,
    answers: children.map((child) => child.step!.answer),
    rewards: children.map((child) => child.value),
  }));
  expect(places.sort((a, b) => a.at!.x - b.at!.x)).toEqual([
    { at: { picture: 0, x: 20, y: 20 }, box: [56, 56, 104, 104], answers: ["3"], rewards: [0] },
    { at: { picture: 0, x: 90, y: 80 }, box: [336, 296, 384, 344], answers: ["7"], rewards: [1] },
  ]);
  expect(tree.root.dropped.sameText).toBeGreaterThan(0);
  expect(tree.root.children[0].step!.picture!.imageHash).toMatch(/^[0-9a-f]{32}$/);
});

test("answers are simulated once, and a tree that is exhausted ends", async () => {
  const always: Teacher = () => "<answer> left </answer>";
  const { tree } = await grow(always, { steps: "thought", simulations: 50 });
  expect(tree.stop).toBe("exhausted");
  expect(tree.root.children).toHaveLength(1);
  expect(tree.root.expansions).toBe(4);
  expect(tree.root.dropped).toEqual({ sameAnswer: 11 });
  expect(tree.numCalls).toBe(12);
});

test("as published, simulations may end at an answer again and again", async () => {
  const always: Teacher = () => "<answer> A. right </answer>";
  const { tree } = await grow(always, { profile: "repo" });
  expect(tree.stop).toBe("simulations");
  expect(tree.numCalls).toBe(3);
  expect(tree.root.children.map(({ step }) => step!.answer)).toEqual(["right", "right", "right"]);
  expect(tree.root.visits).toBe(3 * 2 + 7);
  expect(tree.root.value).toBe(1);
});

test("budgets end a tree between waves, and say so", async () => {
  const tokens = await grow(searcher, { steps: "turn", maxTokens: 20 });
  expect(tokens.tree.stop).toBe("tokens");
  expect(tokens.tree.simulations).toBe(1);
  const solved = await grow(searcher, { steps: "turn", stopAfterCorrect: 1 });
  expect(solved.tree.stop).toBe("solved");
  const seconds = await grow(searcher, { steps: "turn", maxSeconds: 1e-9 });
  expect(seconds.tree.stop).toBe("seconds");
});

test("a search in words alone is not told of coordinates", async () => {
  const asked: string[] = [];
  const listener: Teacher = (prompt, random) => {
    asked.push(prompt.text);
    return ponderer(prompt, random);
  };
  const spoken = smallConfig({ tools: {}, prompts: { style: "grounded" } });
  for (const grounded of [true, false]) {
    const config = searchConfig.parse({
      profile: "paper",
      simulations: 1,
      prompts: { grounded, previousThought: "{text}" },
    });
    asked.length = 0;
    const sampler = new TableSampler(listener);
    const rules = rulesOf(config, spoken);
    await searchTree({ sampler, record: digitRecord, episode: spoken, rules, seed: 1 });
    const [system] = asked[0].split("which digit");
    expect(system).toContain("single steps");
    expect(system.includes("(x, y)")).toBe(grounded);
    expect(/without coordinates/.test(system)).toBe(!grounded);
  }
});

test("the packed prompt tells the thoughts so far, and asks for the end in a message of its own", async () => {
  const prompts: string[] = [];
  const listener: Teacher = (prompt, random) => {
    prompts.push(prompt.text);
    return ponderer(prompt, random);
  };
  await grow(listener, {
    profile: "paper",
    simulations: 1,
    prompts: { minThoughts: [3, 7], system: "s" },
  });
  expect(prompts[0]).toMatch(/^system\ns\nGive at least [3-7] thoughts before you answer\./);
  const last = prompts.at(-1)!;
  expect(last).toMatch(/star\?\n\nPrevious thought 1: right \(\d+, \d+\)\n\nPrevious thought 2: /);
  expect(last).toContain("Previous thought 5: ");
  expect(last).toMatch(/user\nThat was the last thought\..*\nassistant\n$/s);
  expect(last).not.toContain("<think>");
});

test("as published, nothing is asked beyond the depth bound, and the step on it must answer", async () => {
  for (const [depthBound, most] of [
    ["strict", 2],
    ["answer", 3],
  ] as const) {
    const { tree } = await grow(ponderer, {
      profile: "repo",
      depthBound,
      maxDepth: 2,
      rolloutSteps: 5,
      simulations: 4,
    });
    for (const path of walk(tree.root)) {
      for (const { steps } of path.at(-1)!.rollouts) {
        expect(path.length - 1 + steps.length).toBeLessThanOrEqual(Math.max(most, path.length - 1));
        if (steps.length > 0) expect(steps.at(-1)!.forced).toBe(true);
      }
    }
    const depths = [...walk(tree.root)].flatMap((path) =>
      path.at(-1)!.rollouts.map(({ steps }) => path.length - 1 + steps.length),
    );
    expect(Math.max(...depths)).toBe(most);
  }
});

test("as published, an empty reply is a child", async () => {
  const silent: Teacher = () => "<think> </think>";
  const counts = await Promise.all(
    [true, false].map(async (keepEmpty) => {
      const { tree } = await grow(silent, { profile: "repo", keepEmpty, simulations: 1 });
      return tree.root.children.length;
    }),
  );
  expect(counts).toEqual([3, 0]);
});
