import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runEpisode } from "./episode.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "./fixtures/scene.ts";
import { ScriptedSampler } from "./fixtures/scripted-sampler.ts";
import type { Asked } from "./kinds.ts";
import type { TaskRecord } from "./record.ts";
import { rewardConfigSchema, scoreEpisode, type Reward } from "./reward.ts";
import type { Scored } from "./rewards/term.ts";

/** The published box (50, 60, 70, 80), which is inclusive, as the importer writes it. */
const boxTask = { kind: "point", answer: { box: [50, 60, 71, 81] } } as const;
const textTask = (answer: string) => ({ kind: "text", answer }) as const;
const actionTask = (answer: string) => ({ kind: "action", answer }) as const;

const single = (think: string, answer: string) =>
  `<think>${think}</think>\n<answer>${answer}</answer>`;
const call = (x: number, y: number) =>
  `<think>a</think>\n<tool_call>\n{"name": "search_coordinate", "arguments": {"coordinate": [${x}, ${y}]}}\n</tool_call>` +
  "\nuser\n<observation>\nb\n</observation>\nassistant\n";
const multi = (points: [number, number][], answer: string) =>
  points.map(([x, y]) => call(x, y)).join("") + single("a", answer);

const nothing: Scored = {
  response: "",
  answer: null,
  points: [],
  toolUses: [],
  turns: [],
  wellFormed: true,
  tools: [],
  view: null,
};
const published = (response: string, record: Asked, canZoom: boolean, grounded = true) =>
  scoreEpisode(
    { ...nothing, response, tools: canZoom ? ["zoom"] : [] },
    record,
    rewardConfigSchema.parse({ profile: "repo", grounded }),
  );
const singleTurnReward = (response: string, record: Asked, grounded: boolean) =>
  published(response, record, false, grounded);
const multiTurnReward = (response: string, record: Asked) => published(response, record, true);

/** Total, form and accuracy as the vectors list them, free of rounding noise. */
function listed(value: Reward, formWeight: number): number[] {
  const form = (value.terms.format + value.terms.distinct) / formWeight;
  return [value.total, form, value.accuracy].map((each) => Math.round(each * 1e9) / 1e9);
}

describe("published single-turn rewards, vector by vector", () => {
  test.each<[string, string, number, number, number]>([
    ["on the edge of the box", single("at (50, 60)", "(70,80)"), 1, 1, 1],
    ["beside the box", single("at (50, 60)", "(71,80)"), 0.5, 1, 0],
    ["no point in the thought", single("there", "(70,80)"), 0.5, 0, 1],
    ["a blank before the first digit", single("( 50, 60 )", "(70,80)"), 0.5, 0, 1],
    ["a decimal in the thought", single("(50.5, 60)", "(70,80)"), 0.5, 0, 1],
    ["a decimal in the answer", single("(50, 60)", "(55.0, 65)"), 0, 0, 0],
    ["square brackets", single("(50, 60)", "[55, 65]"), 0.5, 0, 1],
    ["a newline at the end", `${single("(50, 60)", "(55, 65)")}\n`, 0.5, 0, 1],
    ["no tags at all", "(55, 65)", 0.5, 0, 1],
    ["an answer on two lines", single("(50, 60)", "\n(55, 65)\n"), 0.5, 1, 0],
    ["two thoughts", `<think>(1, 2)</think>${single("x", "(55, 65)")}`, 1, 1, 1],
  ])("point: %s", (_, response, total, format, accuracy) => {
    expect(listed(singleTurnReward(response, boxTask, true), 0.5)).toEqual([
      total,
      format,
      accuracy,
    ]);
  });

  test.each(["right", "Right", "A. right", "A) right"])("truth right, answer %j", (answer) => {
    expect(singleTurnReward(single("(1, 2)", answer), textTask("right"), true).total).toBe(1);
  });

  test.each(["right", "Right", "RIGHT", "A. Right"])("truth Right, answer %j", (answer) => {
    const value = singleTurnReward(single("(1, 2)", answer), textTask("Right"), true);
    expect(value.total).toBeLessThanOrEqual(0.5);
  });

  test.each([
    ["click [12]", "click [12]", 1],
    ["click [12]", "click [13]", 0.75],
    ["click [12]", "type [12] [x]", 0.75],
    ["type [3] [hi]", "type [3] [bye]", 1],
    ["scroll [down]", "scroll [up]", 0.5],
    ["stop [1]", "stop [2]", 1],
    ["go_back", "go_back", 1],
  ])("web: truth %s, answer %s", (truth, answer, total) => {
    expect(singleTurnReward(single("(1, 2)", answer), actionTask(truth), true).total).toBe(total);
  });

  test("the vanilla baseline asks for no point", () => {
    expect(singleTurnReward(single("there", "(70,80)"), boxTask, false).total).toBe(1);
  });
});

describe("published multi-turn rewards, vector by vector", () => {
  const far: [number, number][] = [
    [0, 0],
    [100, 0],
    [0, 100],
    [100, 100],
  ];
  test.each([
    [0, 1, 0.4],
    [1, 1, 0.4],
    [2, 1.08, 0.48],
    [3, 1.16, 0.56],
    [4, 1.24, 0.64],
  ])("%d crops", (count, right, wrong) => {
    const points = far.slice(0, count);
    const form = Math.round((1 + 0.2 * Math.max(0, count - 1)) * 1e9) / 1e9;
    const score = (answer: string) =>
      listed(multiTurnReward(multi(points, answer), textTask("red")), 0.4);
    expect(score("Red")).toEqual([right, form, 1]);
    expect(score("blue")).toEqual([wrong, form, 0]);
  });

  test.each<[[number, number][], number]>([
    [
      [
        [1, 1],
        [2, 2],
      ],
      0,
    ],
    [
      [
        [0, 0],
        [6, 8],
      ],
      0.2,
    ],
    [
      [
        [0, 0],
        [9, 0],
        [18, 0],
      ],
      0.2,
    ],
  ])("bonus of %j", (points, bonus) => {
    const value = multiTurnReward(multi(points, "red"), textTask("red"));
    expect(value.terms.distinct / 0.4).toBeCloseTo(bonus, 10);
  });

  test("points, outside places and odd calls", () => {
    expect(multiTurnReward(multi([[-5, 9999]], "(55, 65)"), boxTask).total).toBeCloseTo(1);
    expect(multiTurnReward(multi([], "55, 65"), boxTask).total).toBeCloseTo(0.6);
    const replaced = (body: string) => multi([[1, 2]], "red").replace(/\{"name.*\}\}/, body);
    const total = (body: string) => multiTurnReward(replaced(body), textTask("red")).total;
    expect(total("no braces")).toBeCloseTo(1);
    expect(total('{"arguments": {"coordinate": [true, false]}}')).toBeCloseTo(1);
    expect(total('{"arguments": {"coordinate": [1.0, 2]}}')).toBeCloseTo(0.6);
    expect(total('{"arguments": {"coordinate": [1]}}')).toBeCloseTo(0.6);
    expect(total("{broken}")).toBeCloseTo(0.6);
  });

  test("form is lost with a tag out of order or a tail", () => {
    for (const bad of [
      `${multi([], "red")} bye`,
      `<observation></observation>${multi([], "red")}`,
      multi([[1, 2]], "red").replace("<observation>", ""),
    ])
      expect(multiTurnReward(bad, textTask("red")).total).toBeCloseTo(0.6);
    expect(multiTurnReward(`${multi([], "red")}<|im_end|>\n`, textTask("red")).total).toBe(1);
  });
});

const config = rewardConfigSchema.parse({});
const coordinate = fc.integer({ min: -40, max: 160 });
/** Whatever an episode could look like to a reward, apart from its answer. */
const looks: fc.Arbitrary<Omit<Scored, "answer">> = fc.record({
  response: fc.string(),
  points: fc.array(
    fc.record({
      frame: fc.constant("resized" as const),
      picture: fc.constant(0),
      x: coordinate,
      y: coordinate,
      turn: fc.nat(4),
      inImage: fc.boolean(),
    }),
  ),
  toolUses: fc.array(
    fc.record({
      tool: fc.constant("zoom"),
      turn: fc.nat(4),
      reads: fc.constant(0),
      place: fc.constant(null),
      at: fc.option(fc.record({ picture: fc.nat(1), x: coordinate, y: coordinate })),
      gives: fc.constant(null),
      text: fc.constant(""),
      fault: fc.constantFrom(null, "outside" as const),
      ends: fc.constant(false),
      control: fc.constant(null),
    }),
    { maxLength: 30 },
  ),
  turns: fc.array(
    fc.record({
      text: fc.string(),
      numTokens: fc.nat(),
      forced: fc.boolean(),
      wellFormed: fc.boolean(),
      weightsVersion: fc.constant(0),
    }),
  ),
  wellFormed: fc.boolean(),
  tools: fc.constantFrom([], ["zoom"]),
  view: fc.constant(null),
});

describe("our reward cannot be farmed", () => {
  const settings = fc.record({
    profile: fc.constant("default" as const),
    grounded: fc.boolean(),
    weights: fc.record({
      format: fc.double({ min: 0, max: 0.49, noNaN: true }),
      distinct: fc.double({ min: 0, max: 1, noNaN: true }),
      distance: fc.double({ min: 0, max: 0.49, noNaN: true }),
    }),
    distinctMax: fc.nat(10),
    minDistancePx: fc.double({ min: 1, max: 50, noNaN: true }),
  });

  test("the best wrong episode is worth less than the worst right one", () => {
    fc.assert(
      fc.property(looks, looks, settings, (wrong, right, rules) => {
        const bad = scoreEpisode({ ...wrong, answer: "8" }, digitRecord, rules);
        const none = scoreEpisode({ ...wrong, answer: null }, digitRecord, rules);
        const good = scoreEpisode({ ...right, answer: "7" }, digitRecord, rules);
        expect(Math.max(bad.total, none.total)).toBeLessThan(good.total);
        expect(bad.terms.distinct + none.terms.distinct).toBe(0);
      }),
    );
  });

  test("terms add up, and more places than the cap are worth no more", () => {
    fc.assert(
      fc.property(looks, settings, (seen, rules) => {
        const value = scoreEpisode({ ...seen, answer: "7" }, digitRecord, rules);
        const sum = Object.values(value.terms).reduce((a, b) => a + b, 0);
        expect(value.total).toBe(sum);
        expect(value.terms.distinct).toBeLessThanOrEqual(
          rules.distinctMax * rules.weights.distinct,
        );
      }),
    );
  });

  test("weights that would let a wrong answer win are refused, under our profile alone", () => {
    const weights = { format: 0.6, distance: 0.4 };
    expect(() => rewardConfigSchema.parse({ weights })).toThrow(/wrong answer could be worth/);
    expect(rewardConfigSchema.parse({ profile: "repo", weights }).weights).toEqual(weights);
    expect(() => rewardConfigSchema.parse({ weights: { lenght: 1 } })).toThrow(/lenght/);
  });

  test("points outside the image and failed calls cost the form term", () => {
    const scored: Scored = {
      response: "",
      answer: "7",
      points: [{ frame: "resized", picture: 0, x: 5, y: 5, turn: 0, inImage: true }],
      toolUses: [],
      turns: [],
      wellFormed: true,
      tools: ["zoom"],
      view: null,
    };
    expect(scoreEpisode(scored, digitRecord, config).terms.format).toBe(0.1);
    const outside = { ...scored, points: [{ ...scored.points[0], inImage: false }] };
    expect(scoreEpisode(outside, digitRecord, config).terms.format).toBe(0);
    expect(scoreEpisode({ ...scored, points: [] }, digitRecord, config).terms.format).toBe(0);
    const free = { ...config, grounded: false };
    expect(scoreEpisode({ ...scored, points: [] }, digitRecord, free).terms.format).toBe(0.1);
  });
});

describe("one episode under the three profiles", () => {
  const script = [zoomCall(57, 83), zoomCall(20, 20), answerTurn("7")];
  const play = (record: TaskRecord) =>
    runEpisode(new ScriptedSampler(chat.tokenizer, script), record, smallConfig({}), 1);

  test.each([
    ["default", 1 + 0.1 + 2 * 0.025, 0.1],
    ["paper", 0.6 + 0.4 * 1.4, 0.4 * 1.4],
    ["repo", 0.6 + 0.4 * 1.2, 0.4 * 1.2],
  ] as const)("%s", async (profile, right, wrong) => {
    const rules = { ...config, profile };
    const episode = await play(digitRecord);
    expect(scoreEpisode(episode, digitRecord, rules).total).toBeCloseTo(right, 10);
    const other = { ...digitRecord, answer: "8" };
    expect(scoreEpisode(episode, other, rules).total).toBeCloseTo(wrong, 10);
  });

  test("the paper's actions earn halves, and its points must lie in the image", () => {
    const base: Scored = {
      response: "",
      answer: "type [3] [bye]",
      points: [{ frame: "resized", picture: 0, x: 5, y: 5, turn: 0, inImage: true }],
      toolUses: [],
      turns: [],
      wellFormed: true,
      tools: [],
      view: null,
    };
    const record: TaskRecord = { ...digitRecord, kind: "action", answer: "type [3] [hi]" };
    const rules = { ...config, profile: "paper" as const };
    expect(scoreEpisode(base, record, rules).total).toBe(0.75);
    const outside = { ...base, points: [{ ...base.points[0], inImage: false }] };
    expect(scoreEpisode(outside, record, rules).total).toBe(0.25);
  });
});

describe("nearness in the answer's place", () => {
  const rules = rewardConfigSchema.parse({ profile: "repo-distance" });
  const near = (answer: string | null, view: Scored["view"] = null) =>
    scoreEpisode({ ...nothing, answer, view }, boxTask, rules).terms.distance;

  test("falls off with the distance from the middle, in pixels that the model sees", () => {
    expect(near("(60.5, 70.5)")).toBe(0.7);
    expect(near("(60.5, 170.5)")).toBeCloseTo(0.7 * Math.exp(-1), 12);
    expect(near("there")).toBe(0);
    expect(near(null)).toBe(0);
    const half = { widthPx: 100, heightPx: 100 };
    const view = {
      original: { widthPx: 200, heightPx: 200 },
      resized: half,
      coordinates: "resized",
    } as const;
    expect(near("(30.25, 85.25)", view)).toBeCloseTo(0.7 * Math.exp(-0.5), 12);
  });

  test("what does not point gets whether it is right", () => {
    const worth = (answer: string) =>
      scoreEpisode({ ...nothing, answer }, textTask("red"), rules).terms.distance;
    expect([worth("red"), worth("blue")]).toEqual([0.7, 0]);
  });
});
