/** Rewards of the three kinds of answer, single-turn with and without grounding, and multi-turn. */
import type { Rng } from "../../../src/core/random.ts";
import { rewardConfigSchema, scoreEpisode } from "../../../src/task/reward.ts";
import type { Kind, Style } from "../kind.ts";
import { disturbed, oddities, place, thought } from "../words.ts";

const rules = {
  point_in_bbox: ["vanilla", "point"],
  point_in_bbox_grounded_thinking: ["single", "point"],
  point_in_bbox_multicrop: ["multi", "point"],
  string_match: ["vanilla", "text"],
  string_match_grounded_thinking: ["single", "text"],
  string_match_multiturn: ["multi", "text"],
  web_action: ["vanilla", "action"],
  web_action_grounded_thinking: ["single", "action"],
} as const;
type Rule = keyof typeof rules;
type Box = readonly [number, number, number, number];

interface Input {
  readonly rule: Rule;
  readonly truth: string | Box;
  readonly response: string;
}

export const rewards: Kind<Input> = {
  name: "rewards",
  make(random, style) {
    const rule = random.pick(Object.keys(rules) as Rule[]);
    const [turns, kind] = rules[rule];
    const truth = truthOf(kind, random, style);
    const answer = answerOf(kind, truth, random, style);
    const response = turns === "multi" ? manyTurns(answer, random) : oneTurn(answer, random);
    const isOdd = style === "hostile" && random.chance(0.8);
    return { rule, truth, response: isOdd ? disturbed(response, random) : response };
  },
  ask: ({ rule, truth, response }) => [
    rule,
    response,
    typeof truth === "string" ? truth : `(${truth.join(", ")})`,
  ],
  ours({ rule, truth, response }) {
    const [turns, kind] = rules[rule];
    const canZoom = turns === "multi";
    const answer =
      typeof truth === "string"
        ? truth
        : { box: [truth[0], truth[1], truth[2] + 1, truth[3] + 1] as const };
    const config = rewardConfigSchema.parse({ profile: "repo", grounded: turns !== "vanilla" });
    const tools = canZoom ? ["zoom"] : [];
    const { total, accuracy, terms } = scoreEpisode(
      { ...unseen, response, tools },
      { kind, answer },
      config,
    );
    const form = (terms.format + terms.distinct) / (canZoom ? 0.4 : 0.5);
    return [total, form, accuracy].map(rounded);
  },
  read: (published) => (Array.isArray(published) ? published.map(rounded) : published),
  differences: [],
};

/** What a published reward does not look at. */
const unseen = {
  answer: null,
  points: [],
  toolUses: [],
  turns: [],
  wellFormed: false,
  view: null,
} as const;

const rounded = (value: unknown) => Math.round(Number(value) * 1e9) / 1e9;

const options = ["right", "left", "red", "2", "the cup is closer", "yes", "behind"];
const actions = [
  "click [12]",
  "click [3]",
  "type [12] [hello there]",
  "type [3] [x]",
  "scroll [down]",
  "scroll [up]",
  "go_back",
  "stop [42]",
  "stop []",
];
const oddActions = [
  "click",
  "click 12",
  "click [ 12 ]",
  "Click [12]",
  "click [\u0661\u0662]",
  "click []",
  "type",
  "type []",
  "type [ 12 ] [x]",
  "type [\n12] [x]",
  "scroll",
  "scroll [left]",
  "[]scroll[up]",
  "scroll up",
  "stop",
  "go_back stop",
  "hover [1]",
  "typeclick [12]",
];
const oddPoints = [
  "(055, 65)",
  "((55, 65))",
  "(0x37, 65)",
  "(5_5, 65)",
  "(True, 65)",
  "(- 5, 65)",
  "(--5, 65)",
  "{55, 65}",
  "(55, 65) # here",
  "(55, 65,)",
  "(55, 65, 1)",
  "(55\n, 65)",
  "(55 65)",
  "()",
  "(55, None)",
  "(55, '65')",
  "(5e1, 65)",
  "(55, 65); 1",
  "(55.0, 65)",
  "(55, 65, 70, 80)",
];

function truthOf(kind: string, random: Rng, style: Style): string | Box {
  if (kind === "point") {
    const [x, y] = [random.int(0, 900), random.int(0, 900)];
    return [x, y, x + random.int(0, 200), y + random.int(0, 90)];
  }
  const truth = random.pick(kind === "action" ? actions : options);
  return style === "hostile" && random.chance(0.3)
    ? random.pick(["", "\n", "B. left", "Right", `${truth} `, `\n${truth}`, "A"])
    : truth;
}

function answerOf(kind: string, truth: string | Box, random: Rng, style: Style): string {
  const isOdd = style === "hostile" && random.chance(0.4);
  if (typeof truth !== "string") {
    if (isOdd) return random.pick([...oddPoints, ...oddities]);
    const [x0, y0, x1, y1] = truth;
    // On the edges and right outside, too.
    const [x, y] = [random.int(x0 - 1, x1 + 1), random.int(y0 - 1, y1 + 1)];
    const near = `(${Math.max(0, x)}, ${Math.max(0, y)})`;
    return random.pick([near, near, near, place(random), `${x}, ${y}`, `[${x}, ${y}]`]);
  }
  if (isOdd) return random.pick(kind === "action" ? oddActions : oddities);
  const other = random.pick(kind === "action" ? actions : options);
  const said = random.chance(0.6) ? truth : other;
  const spoken = [said, said, said, `B. ${said}`, `(A) ${said}`, `C) ${said}`, `${said}.`];
  return random.pick([...spoken, said.toUpperCase(), `The answer is ${said}`, ""]);
}

/** A thought and an answer, now and then with what goes wrong in replies. */
function oneTurn(answer: string, random: Rng): string {
  const gap = random.pick(["\n", "\n", "", "\n\n", " "]);
  const [before, after] = random.pick([
    [" ", " "],
    [" ", " "],
    ["", ""],
    ["\n", "\n"],
  ] as const);
  const think = `<think>${before}${thought(random)}${after}</think>`;
  const whole = `${think}${gap}<answer>${before}${answer}${after}</answer>`;
  switch (random.int(0, 19)) {
    case 0:
      return answer;
    case 1:
      return `${whole}\n`;
    case 2:
      return `${whole} That is all.`;
    case 3:
      return whole.slice(0, random.int(0, whole.length));
    case 4:
      return `${think}\n${think}${gap}<answer>${answer}</answer>`;
    case 5:
      return `${whole}\n<answer> ${answer} </answer>`;
    case 6:
      return `${thought(random)}\n<answer> ${answer} </answer>`;
    default:
      return whole;
  }
}

function manyTurns(answer: string, random: Rng): string {
  const turns = Array.from({ length: random.int(0, 4) }, () => {
    const think = `<think> ${thought(random, 2)} </think>`;
    return `${think}\n<tool_call>\n${callOf(random)}\n</tool_call>user\n<observation>\nHere it is.\n</observation>assistant\n`;
  });
  const end = random.pick(["", "", "", "\n", "<|im_end|>", "<|im_end|>\n"]);
  return turns.join("") + oneTurn(answer, random) + end;
}

/** Places close to each other and far apart, and now and then a call that is none. */
function callOf(random: Rng): string {
  const [x, y] = [random.int(0, 40), random.int(0, 40)];
  const call = (coordinate: string) =>
    `{"name": "search_coordinate", "arguments": {"coordinate": ${coordinate}}}`;
  if (random.chance(0.85)) return call(`[${x}, ${y}]`);
  return random.pick([
    call(`[${x}.5, ${y}]`),
    call(`[${x}]`),
    call(`"${x}, ${y}"`),
    call(`[true, ${y}]`),
    call(`[1e1, ${y}]`),
    call(`[NaN, ${y}]`),
    call(`[-${x}, ${y}]`),
    `{"coordinate": [0.5, 1], "arguments": {"coordinate": [${x}, ${y}]}}`,
    `{"arguments": [${x}, ${y}]}`,
    `{'arguments': {'coordinate': [${x}, ${y}]}}`,
    `{"arguments": {"coordinate": [${x}, ${y}]}`,
    "no call",
  ]);
}
