import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseTurn } from "../text/grammar.ts";
import { chainsOf } from "./chains.ts";
import {
  answerStep,
  node,
  rollout,
  smallTree,
  thought,
  tree,
  zoomStep,
} from "./fixtures/small-tree.ts";
import { linearize } from "./linearize.ts";
import { linearizeConfig } from "./linearize-config.ts";
import type { NodeLine, TreeLine } from "./tree-line.ts";

const sentence = "No. Look again.";
const config = (settings: object = {}) =>
  linearizeConfig.parse({ correction: sentence, ...settings });
const run = (trees: TreeLine[], settings: object = {}, seed = 1) =>
  linearize({ trees, config: config(settings), seed });
const call = (x: number, y: number) =>
  `<tool_call>\n{"name": "search_coordinate", "arguments": {"coordinate": [${x}, ${y}]}}\n</tool_call>`;

test("a tree with crops gives its direct chain, and the wrong way before the right one", async () => {
  const { chains, stats } = await run([smallTree]);
  expect(chains[0]).toEqual({
    version: 2,
    id: "search-1#0",
    recordId: "search-1",
    question: "which digit is on the red star?",
    category: "search",
    kind: "direct",
    turns: [
      `<think> red star (90, 80). </think>\n${call(90, 80)}`,
      "<think> it is 7 </think>\n<answer> 7 </answer>",
    ],
    answer: "7",
    places: [{ picture: 0, x: 90, y: 80 }],
    pictures: ["crop90x80"],
    seen: { widthPx: 112, heightPx: 112 },
    detours: [],
  });
  const backtracking = chains.filter(({ kind }) => kind === "backtrack").map(({ turns }) => turns);
  expect(backtracking).toContainEqual([
    `<think> red cloud (20, 20). </think>\n${call(20, 20)}`,
    `<think> it is 3 ${sentence} red star (90, 80). </think>\n${call(90, 80)}`,
    "<think> it is 7 </think>\n<answer> 7 </answer>",
  ]);
  expect(stats.found).toEqual({ direct: 2, backtrack: 8 });
  expect(stats.kept).toEqual({ direct: 1, backtrack: 2 });
  expect(stats.dropped).toEqual({ noNewPlace: 2, exactDuplicate: 5 });
});

test("of far more pairs than are kept, some are chosen before they are written out", async () => {
  const ways = (answer: string, y: number) =>
    Array.from({ length: 60 }, (_, i) =>
      node(zoomStep(`${answer} way ${i}`, 1 + 2 * (i % 30), y + 12 * Math.floor(i / 30)), {
        children: [node(answerStep(answer), {})],
      }),
    );
  const root = node(null, { children: [...ways("7", 20), ...ways("3", 60)] });
  const { chains, stats } = await run([tree(root)], { choose: { maxPerTree: 4 } });
  expect(stats.found).toEqual({ direct: 60, backtrack: 3600 });
  expect(stats.dropped.notChosen).toBeGreaterThan(3600 - 4 * 16 - 1);
  expect(stats.kept).toEqual({ direct: 2, backtrack: 2 });
  expect(await run([tree(root)], { choose: { maxPerTree: 4 } })).toEqual({ chains, stats });
  const composed = chainsOf(tree(root), config()).filter(
    ({ chain }) => chain?.kind === "backtrack",
  );
  expect(composed).toHaveLength(8 * 16);
  expect(new Set(composed.map(({ chain }) => chain?.turns[1])).size).toBeGreaterThan(50);
});

test("what both ways share comes once", async () => {
  const shared = node(zoomStep("red bell", 50, 50), {
    children: [
      node(zoomStep("red cloud", 20, 20), { children: [node(answerStep("3"), {})] }),
      node(zoomStep("red star", 90, 80), { children: [node(answerStep("7"), {})] }),
    ],
  });
  const { chains } = await run([tree(node(null, { children: [shared] }))]);
  const [back] = chains.filter(({ kind }) => kind === "backtrack");
  expect(back.turns.join("\n").split("red bell")).toHaveLength(2);
  expect(back.turns).toHaveLength(4);
  expect(back.pictures).toEqual(["crop50x50", "crop20x20", "crop90x80"]);
});

test("chains without crops are one message; the shared beginning is not repeated there either", async () => {
  const beginning = thought("A star", 50, 50);
  const root = node(null, {
    children: [
      node(beginning, {
        children: [
          node(thought("A cloud", 20, 20), { children: [node(answerStep("3", ""), {})] }),
          node(thought("A bell", 90, 80), { children: [node(answerStep("7", ""), {})] }),
        ],
      }),
    ],
  });
  const { chains } = await run([tree(root, { steps: "thought" })]);
  expect(chains.map(({ turns }) => turns)).toEqual([
    ["<think>\nA star (50, 50). A bell (90, 80).\n</think>\n<answer> 7 </answer>"],
    [
      `<think>\nA star (50, 50). A cloud (20, 20).\n${sentence}\nA bell (90, 80).\n</think>\n<answer> 7 </answer>`,
    ],
  ]);
});

describe("what is not kept has a reason", () => {
  const faultOf = (way: NodeLine, about: Partial<TreeLine> = {}, settings: object = {}) =>
    chainsOf(tree(node(null, { children: [way] }), about), config(settings)).map(
      ({ fault }) => fault,
    );
  const right = { children: [node(answerStep("7"), {})] };

  test.each([
    ["emptyThought", node(zoomStep("", 20, 20), right), {}],
    ["emptyThought", node(answerStep("7", ""), {}), {}],
    ["tagInThought", node(zoomStep("a <answer> 7 (20, 20)", 20, 20), right), {}],
    ["failedCall", node(thought("no crop", 20, 20), right), {}],
    ["outside", node(zoomStep("red star", 120, 20), right), {}],
    ["noPoint", node(answerStep("7"), {}), {}],
    [
      "samePlace",
      node(zoomStep("a", 20, 20), { children: [node(zoomStep("b", 23, 24), right)] }),
      {},
    ],
    ["tooLong", node(zoomStep("a", 20, 20), right), { maxTurns: 1 }],
    [null, node(zoomStep("a", 20, 20), right), {}],
  ])("%s", (fault, way, settings) => {
    expect(faultOf(way, {}, settings)).toEqual([fault]);
  });

  test("a forced answer without a thought is fine where the thoughts came before", () => {
    const way = node(thought("a", 20, 20), { children: [node(answerStep("7", ""), {})] });
    expect(faultOf(way, { steps: "thought" })).toEqual([null]);
    expect(faultOf(node(answerStep("7", ""), {}), { steps: "thought" })).toEqual(["emptyThought"]);
  });
});

test("order of trees, and running again, change nothing", async () => {
  const trees = Array.from({ length: 12 }, (_, i) => ({ ...smallTree, recordId: `search-${i}` }));
  const settings = { choose: { maxChains: 9, backtrackShare: 0.5 }, duplicates: { across: 1 } };
  const asked = trees.map((one, i) => ({ ...one, question: `question ${i}?` }));
  const once = await run(asked, settings);
  const again = await run([...asked].reverse(), settings);
  expect(again).toEqual(once);
  expect(once.chains).toHaveLength(9);
  expect(once.stats.kept).toEqual({ direct: 5, backtrack: 4 });
  expect(new Set(once.chains.map(({ recordId }) => recordId)).size).toBe(5);
  const { kept, found, dropped } = once.stats;
  const numDropped = Object.values(dropped).reduce((sum, count) => sum + count, 0);
  expect(kept.direct + kept.backtrack + numDropped).toBe(found.direct + found.backtrack);
});

test("the same chain of two records with one question comes once, and the paper agrees", async () => {
  const trees = [smallTree, { ...smallTree, recordId: "search-2" }];
  const ours = await run(trees);
  expect(new Set(ours.chains.map(({ recordId }) => recordId))).toEqual(new Set(["search-1"]));
  const paper = await run(trees, { profile: "paper" });
  expect(new Set(paper.chains.map(({ recordId }) => recordId))).toEqual(new Set(["search-1"]));
  const repo = await run(trees, { profile: "repo" });
  expect(new Set(repo.chains.map(({ recordId }) => recordId)).size).toBe(2);
});

test("chains are balanced over answers where the recipe says so", async () => {
  const answered = (answer: string, i: number) => {
    const way = rollout(answerStep(answer));
    const look = node(zoomStep(`place ${i}`, 20 + i, 20), { rollouts: [{ ...way, reward: 1 }] });
    const root = node(null, { children: [look] });
    return tree(root, { recordId: `${answer}-${i}`, question: `question ${answer} ${i}` });
  };
  const trees = [
    ...Array.from({ length: 9 }, (_, i) => answered("left", i)),
    ...Array.from({ length: 3 }, (_, i) => answered("right", i)),
  ];
  const { stats } = await run(trees, { choose: { maxChains: 6, balance: "answer" } });
  expect(stats.answers).toEqual({ left: 3, right: 3 });
});

test("every chain that is kept is well formed, whatever the tree", async () => {
  const word = fc.constantFrom("a", "the star", "", "<answer> 7", "(3, 4)", "so  it is.");
  const place = fc.integer({ min: -10, max: 130 });
  const step = fc.oneof(
    fc.tuple(word, place, place).map(([think, x, y]) => zoomStep(think, x, y)),
    fc.tuple(word, place, place).map(([think, x, y]) => thought(think, x, y)),
  );
  const answer = fc
    .tuple(fc.constantFrom("7", "3", "7 </answer>"), word)
    .map(([text, think]) => answerStep(text, think));
  const way = fc.tuple(fc.array(step, { maxLength: 4 }), answer);
  const anyTree = fc
    .tuple(fc.array(way, { maxLength: 5 }), fc.constantFrom("turn", "thought"))
    .map(([ways, steps]) =>
      tree(
        node(null, {
          children: ways.map(([first, last]) =>
            first.reduceRight((below, one) => node(one, { children: [below] }), node(last, {})),
          ),
        }),
        { steps: steps as "turn" | "thought" },
      ),
    );
  await fc.assert(
    fc.asyncProperty(anyTree, async (one) => {
      const { chains } = await run([one]);
      for (const { turns, places } of chains) {
        expect(turns.every((turn) => parseTurn(turn).wellFormed)).toBe(true);
        expect(turns.slice(0, -1).every((turn) => parseTurn(turn).toolCall?.ok)).toBe(true);
        expect(parseTurn(turns.at(-1)!).answer?.text).toBe("7");
        expect(places.every(({ x, y }) => x >= 0 && y >= 0 && x < 112 && y < 112)).toBe(true);
        expect(turns.length).toBeLessThanOrEqual(5);
      }
    }),
    { numRuns: 200 },
  );
});
