/** MMMU, RealWorldQA, POPE, GQA, AI2D, MATH-Vision, We-Math: layouts, hand-checked scores, vectors. */
import { expect, test } from "vitest";
import { loadImages, type TaskRecord } from "../../task/record.ts";
import { ai2d } from "./ai2d.ts";
import {
  base64,
  png,
  put,
  putJson,
  putJsonl,
  putParquet,
  putTsv,
  tempFolder,
} from "./fixtures/published.ts";
import { choiceRecord, readOf, scoresOf, verdictOf } from "./fixtures/vectors.ts";
import { gqa } from "./gqa.ts";
import { loadBenchmark } from "./load.ts";
import { mathvision } from "./mathvision.ts";
import { mmmu } from "./mmmu.ts";
import { pope } from "./pope.ts";
import { realworldqa } from "./realworldqa.ts";
import { figuresOf } from "./score.ts";
import { wemath } from "./wemath.ts";

const text = "text" as const;

test("MMMU: options as text of a Python list, several pictures, open answers with several golds", async () => {
  const folder = await tempFolder();
  const images = Object.fromEntries(
    Array.from({ length: 7 }, (_, i) => [`image_${i + 1}`, "image" as const]),
  );
  const columns = {
    id: text,
    question: text,
    options: text,
    explanation: text,
    ...images,
    img_type: text,
    answer: text,
    topic_difficulty: text,
    question_type: text,
    subfield: text,
  } as const;
  const row = {
    explanation: "",
    img_type: "['Paintings']",
    topic_difficulty: "Easy",
    subfield: "x",
  };
  const image = await png(8, 8);
  await putParquet(folder, "Art/validation-00000-of-00001.parquet", columns, [
    {
      ...row,
      id: "validation_Art_1",
      question: "<image 1> Who painted it?",
      options: `['Monet', "O'Keeffe", '<image 2>', 'Klee']`,
      image_1: image,
      image_2: image,
      answer: "B",
      question_type: "multiple-choice",
    },
  ]);
  await putParquet(folder, "Math/validation-00000-of-00001.parquet", columns, [
    {
      ...row,
      id: "validation_Math_1",
      question: "How much?",
      options: "[]",
      image_1: image,
      answer: "['24/7', '3.429']",
      question_type: "open",
    },
    {
      ...row,
      id: "validation_Math_2",
      question: "How many?",
      options: "[]",
      image_1: image,
      answer: "1,200",
      question_type: "open",
    },
  ]);
  const { records } = await loadBenchmark(mmmu, folder);
  expect(records[0]).toMatchObject({
    category: "Art",
    answer: "B",
    choices: ["Monet", "O'Keeffe", "<image 2>", "Klee"],
  });
  expect(records.map((record) => record.images.length)).toEqual([2, 1, 1]);
  const figures = scoresOf(mmmu, "ours", records, ["O'Keeffe", "3.43", "120"]);
  expect(figures).toMatchObject({ "Art & Design": 1, Science: 0.5, Art: 1, Math: 0.5 });
  expect(figures.overall).toBeCloseTo(2 / 3);
  expect(
    scoresOf(mmmu, "official", records, ["(B)", "3.43", "so the result is 1200"]).overall,
  ).toBe(1);
});

const cells = ["Photosynthesis", "Respiration", "Osmosis", "DNA"];

test.each([
  ["B", "B", "B"],
  ["(B)", "B", "B"],
  ["B.", "B", "B"],
  ["The answer is B", "B", "B"],
  ["Answer: (A) not (C)", "C", "C"],
  ["I think it is A because B is wrong", "B", "B"],
  ["B) Respiration", "chance", "chance"],
  ["**B**", "chance", "chance"],
  ["$B$", "chance", "chance"],
  ["DNA", "chance", "A"],
  ["Answer:B", "chance", "B"],
])("MMMU %j: official %s, lmms-eval %s", (reply, official, lmms) => {
  const record = choiceRecord(cells, 1);
  expect(readOf(mmmu, "official", record, reply)).toBe(official);
  expect(readOf(mmmu, "lmms-eval", record, reply)).toBe(lmms);
  if (official === "chance") expect(verdictOf(mmmu, "official", record, reply).score).toBe(0.25);
});

const open = (...golds: string[]): TaskRecord => ({
  id: "q",
  images: [],
  question: "?",
  kind: "number",
  answer: golds[0],
  facts: { golds, question: "?" },
});

test.each([
  [["24"], "The answer is 24.", 1],
  [["12.97"], "x = 12.9703", 1],
  [["24/7", "3.429"], "3.43", 1],
  [["1,200"], "so the result is 1200", 1],
  [["trans"], "transformation", 1],
  [["0.5"], "1/2", 0],
  [["20"], "200", 0],
])("MMMU, open gold %j: %j scores %d officially, and never in lmms-eval", (golds, reply, right) => {
  expect(verdictOf(mmmu, "official", open(...golds), reply).score).toBe(right);
  expect(verdictOf(mmmu, "lmms-eval", open(...golds), reply).score).toBe(0);
});

test("MMMU, open questions as a choice in VLMEvalKit", () => {
  const said = (reply: string) => verdictOf(mmmu, "vlmevalkit", open("24"), reply);
  expect([said("124").score, said("A").score]).toEqual([1, 1]);
  expect(said("42")).toMatchObject({ score: 0, how: "unread" });
});

test("RealWorldQA: options in the question, words and numbers", async () => {
  const folder = await tempFolder();
  const image = await png(8, 8);
  const letters =
    "Where does the arrow point?\n\nA. Left\nB. Right\nPlease answer directly with only the letter of the correct option and nothing else.";
  await putParquet(
    folder,
    "data/test-00000-of-00002.parquet",
    { image: "image", question: text, answer: text },
    [
      { image, question: letters, answer: "B" },
      {
        image,
        question: "How many cars?\nPlease answer directly with a single word or number.",
        answer: "2",
      },
      {
        image,
        question: "Is it open?\nPlease answer directly with a single word or number.",
        answer: "Yes",
      },
    ],
  );
  const { records } = await loadBenchmark(realworldqa, folder);
  expect(records.map(({ kind, question }) => [kind, question])).toEqual([
    ["choice", "Where does the arrow point?\nA. Left\nB. Right"],
    ["number", "How many cars?"],
    ["yes-no", "Is it open?"],
  ]);
  expect(scoresOf(realworldqa, "ours", records, ["right", "2", "no"]).overall).toBeCloseTo(2 / 3);
  const lmms = (i: number, reply: string) =>
    verdictOf(realworldqa, "lmms-eval", records[i], reply).score;
  expect([
    lmms(0, "B. The car"),
    lmms(0, "b"),
    lmms(1, "2."),
    lmms(1, "Two"),
    lmms(2, "Yes."),
    lmms(2, "Yes, it is"),
  ]).toEqual([1, 0, 1, 0, 1, 0]);
});

test.each([
  ["A or C? I pick C", "A"],
  ["Car", "C"],
  ["A car is B", "A"],
  ["The correct answer is (B).", "B"],
  ["The answer is definitely not A but B", "B"],
  ["no idea", "unread"],
])("lmms-eval's shared extractor reads %j as %s", (reply, letter) => {
  const record = choiceRecord(["a", "b", "c", "d"], 0, { facts: { letter: "A", text: "?" } });
  expect(readOf(realworldqa, "lmms-eval", record, reply)).toBe(letter);
});

test("POPE: lines of the repository and tables of the hub; the measures of yes", async () => {
  const folder = await tempFolder();
  putJsonl(folder, "output/coco/coco_pope_random.json", [
    {
      question_id: 1,
      image: "COCO_val2014_000000000042.jpg",
      text: "Is there a kettle in the image?",
      label: "no",
    },
    {
      question_id: 2,
      image: "COCO_val2014_000000000042.jpg",
      text: "Is there a cup in the image?",
      label: "yes",
    },
  ]);
  put(folder, "val2014/COCO_val2014_000000000042.jpg", await png(8, 8));
  const { records } = await loadBenchmark(pope, folder);
  expect(records.map(({ answer, category }) => [answer, category])).toEqual([
    ["no", "random"],
    ["yes", "random"],
  ]);
  expect((await loadImages(records[0]))[0].widthPx).toBe(8);
  const hub = await tempFolder();
  await putParquet(
    hub,
    "data/test-00000-of-00003.parquet",
    {
      id: text,
      question_id: text,
      question: text,
      answer: text,
      image_source: text,
      image: "image",
      category: text,
    },
    [
      {
        id: "0",
        question_id: "1",
        question: "Is there a cup?",
        answer: "yes",
        image_source: "x",
        image: await png(8, 8),
        category: "popular",
      },
    ],
  );
  expect((await loadBenchmark(pope, hub)).records[0]).toMatchObject({
    kind: "yes-no",
    category: "popular",
  });
});

test("POPE: one miss and one false alarm in eight are .75 by every measure", () => {
  const golds = [1, 1, 1, 1, 0, 0, 0, 0];
  const said = [1, 1, 1, 0, 1, 0, 0, 0];
  const scored = golds.map((gold, i) => ({
    record: {
      id: String(i),
      images: [],
      question: "?",
      kind: "yes-no",
      answer: gold ? "yes" : "no",
      category: "random",
    } satisfies TaskRecord,
    verdict: {
      score: Number(gold === said[i]),
      read: said[i] ? "yes" : "no",
      how: "read" as const,
    },
  }));
  const figures = figuresOf(pope, "official", scored);
  const value = (name: string) => figures.find((figure) => figure.name === `random ${name}`)?.value;
  expect(["accuracy", "precision", "recall", "F1", "share of yes"].map(value)).toEqual([
    0.75, 0.75, 0.75, 0.75, 0.5,
  ]);
});

test.each([
  ["No.", "no", "unread", "no"],
  ["no\n", "yes", "no", "no"],
  ["NO", "yes", "no", "no"],
  ["Nope", "yes", "unread", "unread"],
  ["I cannot see one", "yes", "unread", "unread"],
  ["", "yes", "unread", "unread"],
  ["There is not a dog.", "no", "unread", "unread"],
  ["Yes. no doubt", "yes", "unread", "unread"],
  ["Yes, there is no doubt", "no", "unread", "unread"],
])("POPE %j: official %s, lmms-eval %s, VLMEvalKit %s", (reply, official, lmms, vlm) => {
  const record: TaskRecord = { id: "q", images: [], question: "?", kind: "yes-no", answer: "no" };
  expect(readOf(pope, "official", record, reply)).toBe(official);
  expect(readOf(pope, "lmms-eval", record, reply)).toBe(lmms);
  expect(readOf(pope, "vlmevalkit", record, reply)).toBe(vlm);
});

test("GQA: questions and pictures are two tables", async () => {
  const folder = await tempFolder();
  const questions = {
    id: text,
    imageId: text,
    question: text,
    answer: text,
    fullAnswer: text,
  } as const;
  await putParquet(
    folder,
    "testdev_balanced_instructions/testdev-00000-of-00001.parquet",
    questions,
    [
      {
        id: "2001",
        imageId: "n77",
        question: "Is the cup dark?",
        answer: "yes",
        fullAnswer: "Yes, it is.",
      },
      { id: "2002", imageId: "n77", question: "Where is it?", answer: "left", fullAnswer: "Left." },
    ],
  );
  await expect(loadBenchmark(gqa, folder)).rejects.toThrow(/row 1: its picture n77 is in no table/);
  await putParquet(
    folder,
    "testdev_balanced_images/testdev-00000-of-00001.parquet",
    { id: text, image: "image" },
    [
      { id: "n76", image: await png(5, 5) },
      { id: "n77", image: await png(6, 6) },
    ],
  );
  const { records } = await loadBenchmark(gqa, folder);
  expect((await loadImages(records[1]))[0].widthPx).toBe(6);
  expect(scoresOf(gqa, "ours", records, ["Yes.", "the left"]).overall).toBe(0.5);
});

test.each([
  ["Left.", "left", 1, 0],
  ["left ", "left", 0, 1],
  ["t-shirt", "tshirt", 1, 0],
  ["the left", "left", 0, 0],
])("GQA %j for %j: lmms-eval %d, VLMEvalKit %d", (reply, gold, lmms, vlm) => {
  const record: TaskRecord = { id: "q", images: [], question: "?", kind: "text", answer: gold };
  expect(verdictOf(gqa, "lmms-eval", record, reply).score).toBe(lmms);
  expect(verdictOf(gqa, "vlmevalkit", record, reply).score).toBe(vlm);
});

test("AI2D: the answer is the place of an option; the TSV has its letter", async () => {
  const folder = await tempFolder();
  const options = ["fox", "owl", "hare", "ant"];
  await putParquet(
    folder,
    "data/test-00000-of-00001.parquet",
    { question: text, options: "texts", answer: text, image: "image" },
    [{ question: "What eats grass?", options, answer: "2", image: await png(8, 8) }],
  );
  const { records } = await loadBenchmark(ai2d, folder);
  expect(scoresOf(ai2d, "ours", records, ["hare"]).overall).toBe(1);
  const tsv = await tempFolder();
  putTsv(tsv, "AI2D_TEST.tsv", [
    {
      index: 0,
      image: base64(await png(8, 8)),
      question: "What eats grass?",
      A: "fox",
      B: "owl",
      C: "hare",
      D: "ant",
      answer: "C",
      category: "foodChains",
    },
  ]);
  expect((await loadBenchmark(ai2d, tsv)).records[0]).toMatchObject({
    choices: options,
    answer: "C",
  });
});

test.each([
  ["B", 1],
  ["B.", 1],
  ["B. leaf", 1],
  ["(B)", 1],
  ["b", 1],
  ["B) leaf", 0],
  ["The answer is B", 0],
  [" B\n", 0],
])("AI2D in lmms-eval: %j scores %d", (reply, right) => {
  const record = choiceRecord(["root", "leaf", "stem", "bud"], 1);
  expect(verdictOf(ai2d, "lmms-eval", record, reply).score).toBe(right);
});

test("MATH-Vision: options and open answers, tables and lines", async () => {
  const folder = await tempFolder();
  const row = { solution: null, level: 2, subject: "statistics" };
  putJsonl(folder, "data/test.jsonl", [
    {
      ...row,
      id: "9001",
      question: "Which jar holds most?\n<image1>",
      options: ["A", "B", "C", "D", "E"],
      image: "images/9001.jpg",
      answer: "D",
    },
    {
      ...row,
      id: "9002",
      question: "How long?",
      options: [],
      image: "images/9001.jpg",
      answer: String.raw`\frac{1}{2}`,
      level: 3,
    },
  ]);
  put(folder, "data/images/9001.jpg", await png(8, 8));
  const { records } = await loadBenchmark(mathvision, folder);
  expect(records.map(({ kind, answer }) => [kind, answer])).toEqual([
    ["choice", "D"],
    ["maths", String.raw`\frac{1}{2}`],
  ]);
  const figures = scoresOf(mathvision, "ours", records, ["D", "0.5"]);
  expect(figures).toEqual({ overall: 1, "level 2": 1, "level 3": 1 });
});

const openMaths = (answer: string): TaskRecord => ({
  id: "q",
  images: [],
  question: "?",
  kind: "maths",
  answer,
  facts: { answer, question: "?" },
});

test.each([
  [String.raw`\boxed{B}`, 1],
  ["The answer is (B).", 1],
  [String.raw`\boxed{(B)}`, 1],
  [String.raw`So \boxed{45}`, 0],
])("MATH-Vision, gold B with the text 45°: %j scores %d", (reply, right) => {
  const record = choiceRecord(["1", String.raw`$45^{\circ}$`, "60"], 1, { facts: { answer: "B" } });
  expect(verdictOf(mathvision, "official", record, reply).score).toBe(right);
});

test.each([
  [String.raw`\boxed{0.5}`, String.raw`\frac{1}{2}`, 1],
  [String.raw`\boxed{60.004}`, "60", 1],
  ["x = 60 cm", "60", 0],
])("MATH-Vision, %j for %j scores %d", (reply, gold, right) => {
  expect(verdictOf(mathvision, "official", openMaths(gold), reply).score).toBe(right);
});

test("MATH-Vision: an option's text, the last of several boxes, a guess", () => {
  const c = choiceRecord(["20", "40", "60"], 2, { facts: { answer: "C" } });
  const said = (reply: string) => verdictOf(mathvision, "official", c, reply).score;
  expect(said(String.raw`\boxed{60}`)).toBe(1);
  expect(said(String.raw`\boxed{A} then \boxed{C}`)).toBe(1);
  const d = choiceRecord(["1", "2", "3", "4"], 3, { facts: { answer: "D" } });
  expect(verdictOf(mathvision, "official", d, "I guess D").score).toBe(0);
});

test.each([
  ["… <Answer>: B", "B"],
  ["Answer: B. 3215", "B"],
  ["B", "B"],
  ["<Answer>: (B)", "unread"],
  ["<Answer>: B </Answer>", "unread"],
  ["The answer is B", "unread"],
  ["Answer: b", "unread"],
])("We-Math reads %j as %s", (reply, letter) => {
  const record = choiceRecord(["1", "2", "3"], 1, { facts: { group: "g", key: "2steps_1" } });
  expect(readOf(wemath, "official", record, reply)).toBe(letter);
});

test("We-Math: options in one cell, groups by ID, roles in key", async () => {
  const folder = await tempFolder();
  const row = {
    ID: "2steps_1",
    split: "testmini",
    "knowledge concept": "Area of Circles",
    question: "How much?",
    option: "A. 300, 400;B. 20, 30;C. 40, 5;D. 6, 7;E. No correct answer",
    answer: "B",
    image_path: "0.png",
    "question number": 12,
    "knowledge concept description": "…",
  };
  putJson(
    folder,
    "testmini.json",
    ["2steps_1", "2steps_2", "2steps_multi"].map((key) => ({ ...row, key })),
  );
  put(folder, "images/0.png", await png(8, 8));
  const { records } = await loadBenchmark(wemath, folder);
  expect(records[0].choices).toEqual(["300, 400", "20, 30", "40, 5", "6, 7", "No correct answer"]);
  expect(scoresOf(wemath, "ours", records, ["B", "B", "A"])).toMatchObject({
    "strict score": 0.5,
    "strict inadequate generalisation": 1,
    "2steps_multi": 0,
  });
});

test("We-Math: 525 groups by hand, strict 35.24 % and loose 52.38 %", () => {
  let id = 0;
  const groups = (steps: number, numGroups: number, rightSteps: number, whole: boolean) =>
    Array.from({ length: numGroups }, () => {
      const group = String(id++);
      const keys = [...Array.from({ length: steps }, (_, i) => String(i + 1)), "multi"];
      return keys.map((key, i) => ({
        record: choiceRecord(["a", "b"], 0, { facts: { group, key: `${steps}steps_${key}` } }),
        verdict: {
          score: Number(key === "multi" ? whole : i < rightSteps),
          read: "A",
          how: "read" as const,
        },
      }));
    }).flat();
  const scored = [
    ...groups(2, 100, 2, true),
    ...groups(2, 60, 1, true),
    ...groups(2, 20, 0, true),
    ...groups(2, 80, 2, false),
    ...groups(2, 100, 0, false),
    ...groups(3, 25, 3, true),
    ...groups(3, 30, 2, true),
    ...groups(3, 10, 0, true),
    ...groups(3, 40, 3, false),
    ...groups(3, 60, 0, false),
  ];
  const figures = figuresOf(wemath, "official", scored);
  const value = (name: string) =>
    100 * (figures.find((figure) => figure.name === name)?.value ?? NaN);
  expect(value("strict score")).toBeCloseTo(35.24, 2);
  expect(value("strict rote memorisation")).toBeCloseTo(48.98, 2);
  expect(value("loose score")).toBeCloseTo(52.38, 2);
  expect(value("loose rote memorisation")).toBeCloseTo(12.24, 2);
  expect(value("strict insufficient knowledge")).toBeCloseTo(100 * (160 / 525), 2);
});
