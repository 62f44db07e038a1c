/** The judges of the published search and evaluation. */
import type { Rng } from "../../../src/core/random.ts";
import {
  pointInBbox,
  pointMatch,
  stringMatch,
  webActionJudge,
} from "../../../src/task/kinds/published-judges.ts";
import type { Kind, Style } from "../kind.ts";
import { disturbed, oddities, place } from "../words.ts";

const judgesByName = {
  string_match: stringMatch,
  point_in_bbox: pointInBbox,
  point_match: pointMatch,
  web_action: webActionJudge,
};
type Name = keyof typeof judgesByName;

interface Input {
  readonly name: Name;
  readonly truth: string;
  readonly answer: string;
}

export const judges: Kind<Input> = {
  name: "judges",
  make(random, style) {
    const name = random.pick(Object.keys(judgesByName) as Name[]);
    const [truth, answer] = pairOf(name, random, style);
    if (style === "model-like") return { name, truth, answer };
    const isOdd = (text: string) => (random.chance(0.6) ? disturbed(text, random) : text);
    return { name, truth: random.chance(0.3) ? isOdd(truth) : truth, answer: isOdd(answer) };
  },
  ask: ({ name, truth, answer }) => [name, truth, answer],
  ours: ({ name, truth, answer }) => Number(judgesByName[name](truth, answer)),
  differences: [],
};

const texts = [
  "left",
  "upper left",
  "red or blue",
  "the cup",
  "10",
  "1",
  "yes",
  "no",
  "It's 5 p.m.",
];
const actions = [
  "click [12]",
  "click [123]",
  "type [12] [x]",
  "type [12] [two words]",
  "scroll [down]",
  "scroll [up]",
  "go_back",
  "stop [2]",
  "stop",
];

function pairOf(name: Name, random: Rng, style: Style): [string, string] {
  if (name === "web_action") return [random.pick(actions), spoken(random.pick(actions), random)];
  if (name === "string_match") {
    const odd = style === "hostile" ? oddities : [];
    return [random.pick([...texts, ...odd]), spoken(random.pick([...texts, ...odd]), random)];
  }
  const [x, y] = [random.int(0, 900), random.int(0, 900)];
  const [dx, dy] = [random.int(-60, 60), random.int(-60, 60)];
  const said = random.pick([`(${x + dx}, ${y + dy})`, `(${x + dx}, ${y + dy})`, place(random)]);
  const odd = random.pick([`[${x}, ${y}]`, `${x}, ${y}`, `(${x}.0, ${y})`, `(0${x}, ${y})`]);
  const answer = random.chance(0.9) ? said : odd;
  if (name === "point_match") return [`(${x}, ${y})`, answer];
  return [`(${x - 30}, ${y - 30}, ${x + 30}, ${y + random.int(0, 60)})`, answer];
}

function spoken(text: string, random: Rng): string {
  const odd = [text.toUpperCase(), `${text}.`, `A. ${text}`, ` ${text}\n`, `It is ${text}`, ""];
  return random.chance(0.7) ? text : random.pick(odd);
}
