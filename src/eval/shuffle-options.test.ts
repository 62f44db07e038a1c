import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { judge } from "../task/judge.ts";
import { choiceIndex } from "../task/kinds/choice.ts";
import type { TaskRecord } from "../task/record.ts";
import { choiceRecord } from "./benchmarks/choice.ts";
import { lettered, letterOf } from "./benchmarks/judging.ts";
import { benchmarks } from "./benchmarks/table.ts";
import { shuffleOptions } from "./shuffle-options.ts";

const asked = (question: string, choices: readonly string[], answer = choices[0]): TaskRecord => ({
  id: "q",
  images: [],
  question,
  kind: "choice",
  answer,
  choices,
});

/** Under the first seed that gives another order. */
function moved(record: TaskRecord): TaskRecord {
  for (let seed = 0; seed < 100; seed++) {
    const other = shuffleOptions(record, seed);
    if (typeof other === "string") throw new Error(other);
    if (other.choices?.join() !== record.choices?.join()) return other;
  }
  throw new Error("always the same");
}

test.each([
  ["Which?\nA. red\nB. blue", "Which?\nA. blue\nB. red"],
  ["Which? (A) red (B) blue", "Which? (A) blue (B) red"],
  ["Which? (a) red; (b) blue.", "Which? (a) blue; (b) red."],
  ["Which? A) red, B) blue?", "Which? A) blue, B) red?"],
  ["A: red\nB: blue\nAnswer with A or B.", "A: blue\nB: red\nAnswer with A or B."],
  ['Choose between: "red" or "blue".', 'Choose between: "blue" or "red".'],
  ["Is it red or blue?", "Is it blue or red?"],
  ["1. red\n2. blue", "1. blue\n2. red"],
  ["- red\n- blue", "- blue\n- red"],
  ["Red? The red cup. Options: red, blue", "Red? The red cup. Options: blue, red"],
])("a list is written anew where it stands: %j", (before, after) => {
  expect(moved(asked(before, ["red", "blue"])).question).toBe(after);
});

test("options that are parts of others, numbers, signs and several words keep their form", () => {
  const choices = ["red", "red cup", "-5", "5", "a.b (c)"];
  const record = asked(`Which?\n${lettered(choices)}`, choices, "red cup");
  for (let seed = 0; seed < 50; seed++) {
    const other = shuffleOptions(record, seed);
    if (typeof other === "string") throw new Error(other);
    expect(other.question).toBe(`Which?\n${lettered(other.choices ?? [])}`);
    expect([...(other.choices ?? [])].sort()).toEqual([...choices].sort());
    expect(other.answer).toBe("red cup");
  }
});

test.each<[string, TaskRecord | Omit<TaskRecord, "choices">, string]>([
  ["no options", { ...asked("red or blue?", []), choices: undefined } as never, "have no options"],
  ["another kind", { ...asked("red or blue?", ["red", "blue"]), kind: "text" }, "have no options"],
  ["no list", asked("Where is it?", ["left", "right"]), "do not list their options"],
  [
    "part of a word",
    asked("A bluered thing, blue as red?", ["red", "blue"]),
    "do not list their options",
  ],
  ["both", asked("A. x\nB. y\nC. both A and B", ["x", "y", "both A and B"]), "others"],
  ["only", asked("A. A only\nB. z", ["A only", "z"]), "others"],
  ["a point", asked("A. point A\nB. point B", ["point A", "point B"]), "others"],
  ["above", asked("A. x\nB. None of the above", ["x", "None of the above"]), "others"],
])("left out with its reason: %s", (_, record, reason) => {
  expect(shuffleOptions(record as TaskRecord, 1)).toMatch(reason);
});

test.each(["A red car", "above", "the lamp above it", "vitamins", "I am"])(
  "%j speaks of no other option",
  (choice) => {
    const choices = [choice, "z"];
    expect(typeof shuffleOptions(asked(lettered(choices), choices), 1)).toBe("object");
  },
);

test("the id and the seed decide; every order comes alike often", () => {
  const choices = ["red", "blue", "green"];
  const orders = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const record = { ...asked(lettered(choices), choices), id: `q${i}` };
    const other = shuffleOptions(record, 7);
    expect(shuffleOptions(record, 7)).toEqual(other);
    if (typeof other === "string") throw new Error(other);
    const order = other.choices?.join() ?? "";
    orders.set(order, (orders.get(order) ?? 0) + 1);
  }
  expect(orders.size).toBe(6);
  // Six binomial counts, five standard deviations of 29 around 1000.
  for (const count of orders.values()) expect(Math.abs(count - 1000)).toBeLessThan(145);
  const seeds = new Set(
    Array.from({ length: 20 }, (_, seed) =>
      JSON.stringify(shuffleOptions(asked(lettered(choices), choices), seed)),
    ),
  );
  expect(seeds.size).toBeGreaterThan(3);
});

const word = fc.stringMatching(/^[a-z]{2,6}( [a-z0-9]{2,5})?$/);

test("whatever the options, an answer is right after as it was before", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(word, { minLength: 2, maxLength: 8 }),
      fc.nat(),
      fc.nat(1000),
      fc.boolean(),
      (choices, at, seed, byLetter) => {
        const gold = at % choices.length;
        const answer = byLetter ? letterOf(gold) : choices[gold];
        const record = asked(`Which?\n${lettered(choices)}`, choices, answer);
        const other = shuffleOptions(record, seed);
        if (typeof other === "string") return expect(other).toMatch(/others/);
        for (const [i, choice] of choices.entries()) {
          const place = choiceIndex(choice, other.choices ?? []);
          expect(judge(other, choice)).toBe(i === gold ? 1 : 0);
          expect(judge(other, letterOf(place))).toBe(i === gold ? 1 : 0);
        }
      },
    ),
  );
});

const colours = ["a red cup", "a blue jar", "a green bowl", "a black pan"];
const list = lettered(colours);
const withChoices = benchmarks.filter(
  ({ name }) => !/screenspot|osworld|robospatial|pope|gqa|visualprobe/.test(name),
);

describe("every benchmark and protocol with options", () => {
  const all = withChoices.flatMap(({ name, protocols }) =>
    Object.entries(protocols).map(([protocol, own]) => ({
      name: `${name} ${protocol}`,
      protocol,
      question: name === "zoombench" ? `Which?\n${list}` : "Which?",
      ...own,
    })),
  );
  test.each(all)("$name", ({ protocol, question, prompt, judge: judgeReply }) => {
    const record = choiceRecord({
      id: "q",
      place: "here",
      images: [],
      question: "Which?",
      choices: colours,
      gold: 1,
      facts: {
        question,
        prompt: `Which?\n${list}`,
        text: `Which?\n${list}`,
        asked: "Which?",
        letter: "B",
        answer: "B",
        cycle: "0",
        group: "g",
        key: "2steps_1",
        task: "t",
      },
    });
    const before = { ...record, question: prompt.question(record) };
    const after = moved(before);
    const order = (after.choices ?? []).map((choice) => colours.indexOf(choice));
    expect(after.question).not.toBe(before.question);
    expect(after.facts?.gold).toBe(order.indexOf(1));
    const scoreOf = (one: TaskRecord, text: string) =>
      judgeReply(one, { text, answer: text, view: null }).score;
    const forms = [
      (i: number) => letterOf(i),
      (i: number, of: readonly string[]) => `${letterOf(i)}. ${of[i]}`,
      (i: number, of: readonly string[]) => of[i],
    ];
    // The paper's judge finds a truth in any word that has its letter.
    const said = protocol === "vigorl" ? forms.slice(0, 1) : forms;
    for (const [place, from] of order.entries())
      for (const say of said) {
        const [was, now] = [say(from, colours), say(place, after.choices ?? [])];
        expect(scoreOf(after, now)).toBe(scoreOf(before, was));
      }
  });
});
