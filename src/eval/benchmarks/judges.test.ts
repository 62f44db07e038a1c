/** Laws that every judge of every benchmark keeps, whatever a model writes. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TaskRecord } from "../../task/record.ts";
import type { Benchmark, Reply } from "./benchmark.ts";
import { boxRecord, choiceRecord } from "./fixtures/vectors.ts";
import { neededFiles } from "./load.ts";
import { benchmarks } from "./table.ts";

const colours = ["a red cup", "a blue jar", "a green bowl", "a black pan"];
const commonFacts = {
  prompt: "Which?",
  text: "Which?",
  asked: "Which?",
  letter: "B",
  answer: "B",
  group: "g",
  key: "2steps_1",
  cycle: "0",
  task: "t",
  subtask: "s",
  class: "c",
  golds: ["42"],
  level: 1,
};
const boxFacts = {
  published: [120, 40, 200, 100],
  convention: "xywh pixels",
  type: "bbox",
  numbers: [120, 40, 200, 100],
  classes: [],
  polygon: [0.5, 0.5, 0.9, 0.5, 0.9, 0.9],
};
const plain = { id: "q", images: [], question: "?", facts: commonFacts };

/** A record of every kind of question. */
const records: readonly TaskRecord[] = [
  choiceRecord(colours, 1, { answer: "B", facts: commonFacts }),
  boxRecord([120, 40, 320, 140], [1000, 500], { facts: boxFacts }),
  { ...plain, kind: "yes-no", answer: "no" },
  { ...plain, kind: "number", answer: "42" },
  { ...plain, kind: "text", answer: "white cup" },
  { ...plain, kind: "maths", answer: String.raw`\frac{3}{7}` },
];

/** Kinds of question that a benchmark asks. */
const kindsOf: Readonly<Record<string, readonly string[]>> = {
  robospatial: ["yes-no"],
  screenspot: ["point"],
  "screenspot-v2": ["point"],
  "screenspot-pro": ["point"],
  "screenspot-pro-lr": ["point"],
  "osworld-g": ["point"],
  mmmu: ["choice", "number", "text"],
  realworldqa: ["choice", "yes-no", "number", "text"],
  pope: ["yes-no"],
  gqa: ["text"],
  mathvision: ["choice", "maths"],
  visualprobe: ["text", "number"],
  zoombench: ["choice", "text", "number"],
};

const view = {
  original: { widthPx: 1000, heightPx: 500 },
  resized: { widthPx: 980, heightPx: 504 },
  coordinates: "resized",
} as const;

function judgesOf({ name, protocols }: Benchmark) {
  const kinds = kindsOf[name] ?? ["choice"];
  return Object.entries(protocols).flatMap(([protocol, { judge }]) =>
    records
      .filter(({ kind }) => kinds.includes(kind))
      .map((record) => ({ name: `${name} ${protocol} ${record.kind}`, protocol, judge, record })),
  );
}

const judges = benchmarks.flatMap(judgesOf);
const hostile = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc
    .array(
      fc.constantFrom(
        "<answer>",
        "</answer>",
        "(A)",
        "B.",
        "\\boxed{",
        "}",
        "[",
        "0.5",
        ",",
        "yes",
        "no",
        "\n",
        "<box>",
        "x=1, y=2",
        "answer is",
        " ",
        "((((",
        "**",
        "-1",
        "1e999",
        "NaN",
      ),
      { maxLength: 30 },
    )
    .map((parts) => parts.join("")),
  fc.nat(4000).map((length) => "(".repeat(length)),
);

describe("hostile replies", () => {
  // 60 kinds of judge and more, 170 replies each: more than 10,000 verdicts.
  test.each(judges)("$name: a verdict in [0, 1], never an error", ({ judge, record }) => {
    fc.assert(
      fc.property(hostile, fc.boolean(), (text, hasView) => {
        const reply: Reply = { text, answer: text, view: hasView ? view : null };
        const { score, read, how } = judge(record, reply);
        expect(score >= 0 && score <= 1).toBe(true);
        expect(how === "read").toBe(read !== null);
        expect(judge(record, reply)).toEqual(judge(record, reply));
      }),
      { numRuns: 170 },
    );
    const without = judge(record, { text: "", answer: null, view: null });
    expect(without.score).toBeLessThanOrEqual(0.5);
  });
});

/** Replies that answer nothing. */
const refusals = [
  "",
  " ",
  "\n",
  "...",
  "I cannot help with that.",
  "It is impossible to say from this picture.",
  "none",
  "unknown",
  "As an AI model I do not see pictures.",
  "<answer></answer>",
  "\\boxed{}",
  "()",
  "A or B",
  "either yes or no",
  "(10, 10) or (900, 400)",
  "not B",
  "42 or 43",
  "the cup",
  "?",
];

test("ours gives nothing to replies that hold no answer", () => {
  const given = judges
    .filter(({ protocol }) => protocol === "ours")
    .flatMap(({ name, judge, record }) =>
      refusals.flatMap((text) =>
        judge(record, { text, answer: text, view }).score > 0 ? [`${name}: ${text}`] : [],
      ),
    );
  expect(given).toEqual([]);
});

/** The record with every truth that its kind lets it have, so that a favourite answer gains nothing. */
function withEveryGold(record: TaskRecord): TaskRecord[] {
  if (record.kind === "yes-no") return ["yes", "no"].map((answer) => ({ ...record, answer }));
  if (record.kind !== "choice") return [record];
  return colours.map((_, gold) => {
    const letter = "ABCD"[gold];
    return { ...record, answer: letter, facts: { ...record.facts, gold, letter, answer: letter } };
  });
}

test("no rule, ours or published, gives more than chance to replies without an answer", () => {
  const none = refusals.slice(0, 12);
  const generous = judges.filter(({ judge, record }) => {
    const chance = record.kind === "choice" ? 0.25 : record.kind === "yes-no" ? 0.5 : 0;
    const golds = withEveryGold(record);
    const scores = golds.flatMap((gold) =>
      none.map((text) => judge(gold, { text, answer: text, view }).score),
    );
    return scores.reduce((sum, one) => sum + one, 0) / scores.length > chance + 1e-9;
  });
  expect(generous.map(({ name }) => name)).toEqual([]);
});

test("what has to be fetched is told in patterns that people read", () => {
  const told = benchmarks.flatMap((benchmark) => neededFiles(benchmark, benchmark.splits[0]));
  expect(told.filter((line) => /[()?^$\\|+]/.test(line))).toEqual([]);
  const vstar = benchmarks.find(({ name }) => name === "vstar");
  expect(vstar && neededFiles(vstar, "test")).toEqual([
    "test_questions.jsonl",
    "{direct_attributes,relative_position}/*",
  ]);
});
