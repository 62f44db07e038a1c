import fc from "fast-check";
import { expect, test } from "vitest";
import { behavioursOf, defaultBehaviourRules, type Observed } from "./behaviours.ts";
import { runEpisode } from "./episode.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "./fixtures/scene.ts";
import { ScriptedSampler } from "./fixtures/scripted-sampler.ts";
import { toTrace } from "./trace.ts";

const view = { resized: { widthPx: 200, heightPx: 100 }, coordinates: "resized" } as const;

/** An episode of one turn without tools. */
function thinking(thought: string, answer: string | null = "7"): Observed {
  const text = `<think> ${thought} </think>\n<answer> ${answer} </answer>`;
  return { turns: [{ text }], answer, view, pictures: [], toolUses: [] };
}

/** Turns with a look each, and an answer. */
function looking(looks: readonly [thought: string, x: number, y: number][], last = "it is 7") {
  const turns = [...looks.map(([thought]) => thought), last];
  return {
    ...thinking(""),
    turns: turns.map((thought) => ({ text: `<think> ${thought} </think>` })),
    toolUses: looks.map(([, x, y], turn) => ({ turn, at: { picture: 0, x, y }, fault: null })),
  };
}

const countsOf = (episode: Observed, rules = {}) =>
  behavioursOf(episode, { ...defaultBehaviourRules, ...rules }).counts;

test("a single-turn thought is counted sentence by sentence", () => {
  const thought = [
    "First, I need to find the cup at (20, 20).",
    "There is a plate at (150, 80), and another at (153, 82).",
    "Wait, that is a bowl.",
    "I can confirm that the cup (22, 21) is red.",
    "Something lies in the background (900, 10).",
    "On the left side there is a fork.",
  ].join(" ");
  const { counts, quotes } = behavioursOf(thinking(thought));
  expect(counts).toEqual({
    looks: 0,
    places: 2,
    regions: 3,
    subgoals: 1,
    verification: 1,
    backtracking: 1,
    gaveUp: 0,
    outside: 1,
    cropOverlap: null,
  });
  expect(quotes.map(({ behaviour, text }) => [behaviour, text])).toEqual([
    ["subgoals", "First, I need to find the cup at (20, 20)."],
    ["verification", "I can confirm that the cup (22, 21) is red."],
    ["backtracking", "Wait, that is a bowl."],
  ]);
});

test("to come back to a place verifies; to stay with it does not", () => {
  expect(countsOf(thinking("A (20, 20). Still A (21, 20).")).verification).toBe(0);
  expect(countsOf(thinking("A (20, 20). B (90, 20). A (21, 20).")).verification).toBe(1);
  expect(countsOf(thinking("From (20, 20) to (90, 20) to (20, 20).")).verification).toBe(0);
});

test("a second look is counted once, whether it is announced or not", () => {
  const first: [string, number, number] = ["a star (20, 20)", 20, 20];
  const silent = countsOf(looking([first, ["hm", 23, 22]]));
  expect(silent).toMatchObject({ looks: 2, places: 1, subgoals: 1, verification: 1 });
  const said = countsOf(looking([first, ["I check again (23, 22)", 23, 22]]));
  expect(said).toMatchObject({ looks: 2, subgoals: 2, verification: 1 });
  const elsewhere = countsOf(looking([first, ["a drop (90, 22)", 90, 22]]));
  expect(elsewhere).toMatchObject({ looks: 2, places: 2, subgoals: 2, verification: 0 });
});

test("a call that failed is no look, and a recipe's own words take back", () => {
  const episode = looking([["red star no orange heart (20, 20)", 20, 20]]);
  const failed = episode.toolUses.map((use) => ({ ...use, at: null, fault: "outside" }));
  expect(countsOf({ ...episode, toolUses: failed })).toMatchObject({ looks: 0, subgoals: 0 });
  expect(countsOf(episode).backtracking).toBe(0);
  expect(countsOf(episode, { corrections: ["no"] }).backtracking).toBe(1);
});

test("giving up is what the answer says, not that there is none", () => {
  expect(countsOf(thinking("", "none")).gaveUp).toBe(1);
  expect(countsOf(thinking("", null)).gaveUp).toBe(0);
  expect(countsOf(thinking("", "7")).gaveUp).toBe(0);
});

test("without a view no place counts; without a size no region does", () => {
  const thought = thinking("First, look at (20, 20). I verify it.");
  expect(countsOf({ ...thought, view: null })).toMatchObject({
    places: 0,
    regions: 0,
    subgoals: 0,
    verification: 1,
    outside: 0,
  });
  const unknown = { widthPx: Infinity, heightPx: Infinity };
  const sized = { ...thought, view: { ...view, resized: unknown } };
  expect(countsOf(sized)).toMatchObject({ places: 1, regions: null, subgoals: 1 });
});

test("thousandths and pixels are one place; thoughts without tags count too", () => {
  const bare = { ...thinking(""), turns: [{ text: "First, look at (100, 200)." }] };
  expect(countsOf(bare)).toMatchObject({ places: 0, outside: 1, subgoals: 0 });
  const relative = { ...view, coordinates: "relative" } as const;
  expect(countsOf({ ...bare, view: relative })).toMatchObject({ places: 1, subgoals: 1 });
});

test("an episode and its trace count the same", async () => {
  const script = [zoomCall(57, 83), zoomCall(900, 1), zoomCall(58, 84), answerTurn("none")];
  const sampler = new ScriptedSampler(chat.tokenizer, script);
  const episode = await runEpisode(sampler, digitRecord, smallConfig({}), 7);
  const trace = toTrace(episode, digitRecord, null, {}, chat);
  const counted = behavioursOf(episode);
  expect(behavioursOf(trace)).toEqual(counted);
  expect(counted.counts).toMatchObject({ looks: 2, places: 1, verification: 1, outside: 1 });
  expect(counted.counts.cropOverlap).toBeCloseTo((11 * 11) / (12 * 12), 1);
});

test("nothing that a model writes breaks the count", () => {
  const piece = fc.constantFrom(
    "<think>",
    "</think>",
    "<answer>",
    " (1, 2) ",
    "(-999999999, 3) ",
    "no. ",
    "wait, ",
    "let me ",
    "\n",
    "\ud800",
  );
  const turn = fc.oneof(
    fc.array(piece).map((pieces) => pieces.join("")),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 5 }), (turns) => {
      const episode = { ...thinking(""), turns: turns.map((text) => ({ text })) };
      for (const count of Object.values(countsOf(episode)))
        if (count !== null) expect(count).toBeGreaterThanOrEqual(0);
    }),
  );
  const many = thinking("A (1, 2). B (90, 90). ".repeat(3000));
  expect(countsOf(many)).toMatchObject({ places: 2, verification: 5998 });
});
