/** SAT, BLINK and RoboSpatial-Home: their published layouts, hand-checked scores, published vectors. */
import { expect, test } from "vitest";
import { loadImages, type TaskRecord } from "../../task/record.ts";
import { blink } from "./blink.ts";
import { png, putParquet, tempFolder, base64, putTsv } from "./fixtures/published.ts";
import { choiceRecord, readOf, scoresOf, verdictOf } from "./fixtures/vectors.ts";
import { loadBenchmark } from "./load.ts";
import { robospatial } from "./robospatial.ts";
import { sat, sat2 } from "./sat.ts";

const satColumns = {
  question: "text",
  answers: "texts",
  question_type: "text",
  correct_answer: "text",
} as const;
const turn = {
  question: "How did the camera turn?",
  answers: ["rotated left", "rotated right in the first frame"],
  question_type: "ego_movement",
  correct_answer: "rotated right in the first frame",
};

test("SAT-2: a list of frames, options shuffled by the row, the stray phrase gone", async () => {
  const folder = await tempFolder();
  const frames = [await png(20, 10, 1), await png(20, 10, 2)];
  await putParquet(folder, "data/val-00000-of-00001.parquet", { images: "images", ...satColumns }, [
    { ...turn, images: frames },
    { ...turn, images: [frames[0]], question_type: "other" },
  ]);
  const { records } = await loadBenchmark(sat2, folder);
  expect(records.map(({ answer, images }) => [answer, images.length])).toEqual([
    ["rotated right", 2],
    ["rotated right", 1],
  ]);
  expect(records[0].question).toMatch(/^How did .*turn\?\nThe first image is the beginning/);
  const [first, second] = await loadImages(records[0]);
  expect([first.data[0], second.data[0]]).toEqual([1, 2]);
  const said = ["rotated right", "rotated left"];
  expect(scoresOf(sat2, "ours", records, said)).toEqual({
    overall: 0.5,
    ego_movement: 1,
    other: 0,
  });
  expect(scoresOf(sat2, "official", records, ["Rotated right", "right"]).overall).toBe(0.5);
  expect((await loadBenchmark(sat2, folder)).records[0].choices).toEqual(records[0].choices);
});

test("SAT's real photographs are asked twice, with the options swapped", async () => {
  const folder = await tempFolder();
  const rows = [{ ...turn, image_bytes: [await png(8, 8)] }];
  await putParquet(folder, "SAT_test.parquet", { image_bytes: "images", ...satColumns }, rows);
  const { records } = await loadBenchmark(sat, folder);
  expect(records.map(({ choices }) => choices)).toEqual([
    ["rotated left", "rotated right"],
    ["rotated right", "rotated left"],
  ]);
  expect(scoresOf(sat, "ours", records, ["B", "B"]).overall).toBe(0.5);
});

test.each([
  ["rotated right", "Rotated right.", 1],
  ["rotated right", "right", 0],
  ["left", "rotated left", 1],
  ["left", "upper left", 1],
  ["moved left", "left", 0],
  ["no", "not sure", 1],
  ["1", "10", 1],
  ["right", "Right.", 1],
])("the published judge of ViGoRL, gold %j: %j scores %d", (gold, reply, right) => {
  const record = choiceRecord([gold, "something else"], 0, { answer: gold });
  expect(verdictOf(sat2, "vigorl", record, reply).score).toBe(right);
});

test("lmms-eval on SAT: the first word has to be the letter", () => {
  const record = choiceRecord(["right", "left"], 1, { facts: { asked: "Which?" } });
  const read = (reply: string) => readOf(sat2, "lmms-eval", record, reply);
  expect([read("B. left"), read("The answer is B"), read("b")]).toEqual(["B", "unread", "B"]);
});

const blinkRow = {
  question: "Which point is closer?",
  sub_task: "Relative_Depth",
  choices: ["A is closer", "B is closer"],
  answer: "(B)",
  prompt:
    "Two points are marked. Select from the following options.\n(A) A is closer\n(B) B is closer",
};
const blinkColumns = {
  idx: "text",
  question: "text",
  sub_task: "text",
  image_1: "image",
  image_2: "image",
  image_3: "image",
  image_4: "image",
  choices: "texts",
  answer: "text",
  prompt: "text",
} as const;

test("BLINK: a folder for each task, one to four pictures; the mean of tasks is the headline", async () => {
  const folder = await tempFolder();
  const image = await png(8, 8);
  await putParquet(folder, "Relative_Depth/val-00000-of-00001.parquet", blinkColumns, [
    { ...blinkRow, idx: "val_Relative_Depth_1", image_1: image },
    { ...blinkRow, idx: "val_Relative_Depth_2", image_1: image },
    { ...blinkRow, idx: "val_Relative_Depth_3", image_1: image },
  ]);
  await putParquet(folder, "Counting/val-00000-of-00001.parquet", blinkColumns, [
    {
      ...blinkRow,
      idx: "val_Counting_1",
      image_1: image,
      image_3: image,
      choices: ["1", "2", "3"],
      answer: "(C)",
    },
  ]);
  const { records } = await loadBenchmark(blink, folder);
  expect(records.map(({ category, images }) => [category, images.length])).toEqual([
    ["Counting", 2],
    ["Relative_Depth", 1],
    ["Relative_Depth", 1],
    ["Relative_Depth", 1],
  ]);
  const answers = ["3", "B", "A", "A is closer"];
  const figures = scoresOf(blink, "ours", records, answers);
  expect(figures["overall (mean of groups)"]).toBeCloseTo((1 + 1 / 3) / 2);
  expect(figures["overall (mean of questions)"]).toBeCloseTo(0.5);
  expect(figures["three spatial tasks (mean of questions)"]).toBeCloseTo(1 / 3);
  expect(scoresOf(blink, "vlmevalkit", records, ["C", "B", "A", "A"]).overall).toBe(0.5);
});

test("BLINK as VLMEvalKit's TSV: a list of pictures in a cell, and pictures of another row", async () => {
  const folder = await tempFolder();
  const [a, b] = [base64(await png(9, 9)), base64(await png(7, 7))];
  const row = {
    question: "Which?",
    A: "left",
    B: 'a "right" one',
    answer: "B",
    category: "IQ_Test",
  };
  putTsv(folder, "BLINK.tsv", [
    { index: 0, image: 1, ...row },
    { index: 1, image: `['${a}', '${b}']`, ...row },
  ]);
  const { records } = await loadBenchmark(blink, folder);
  const sizes = await Promise.all(
    records.map(async (record) => (await loadImages(record)).map(({ widthPx }) => widthPx)),
  );
  expect(sizes).toEqual([
    [9, 7],
    [9, 7],
  ]);
  expect(records[0].choices).toEqual(["left", 'a "right" one']);
});

test.each([
  ["A", "A", "A"],
  ["The answer is (A)", "A", "T"],
  ["The answer is (A).", "llm", "T"],
  ["(A) or (B)?", "A", "A"],
  ["(A) is wrong.\n\nSo (B) is right", "B", "A"],
  ["Answer: B", "llm", "A"],
  ["b) left", "llm", "B"],
  ["**B**", "llm", "unread"],
])("BLINK %j: official %s, lmms-eval %s", (reply, official, lmms) => {
  const record = choiceRecord(["left", "right"], 0);
  expect(readOf(blink, "official", record, reply)).toBe(official);
  expect(readOf(blink, "lmms-eval", record, reply)).toBe(lmms);
});

test.each([
  ["B", "B"],
  ["The answer is (C).", "C"],
  ["blue", "B"],
  ["It is dark red", "unread"],
  ["A cat is on the mat so B", "unread"],
  ["A blue one", "A"],
  ["The correct answer is **B**. Here is why: the sign says so and A is wrong", "B"],
  ["Cannot determine the answer", "unread"],
])("VLMEvalKit reads %j as %s", (reply, letter) => {
  const record = choiceRecord(["red", "blue", "green", "dark red"], 0);
  expect(readOf(blink, "vlmevalkit", record, reply)).toBe(letter);
});

test("VLMEvalKit, options left and right", () => {
  const record = choiceRecord(["left", "right"], 0);
  expect(readOf(blink, "vlmevalkit", record, "on the left")).toBe("A");
  expect(readOf(blink, "vlmevalkit", record, "The left side, right?")).toBe("unread");
});

const roomColumns = {
  category: "text",
  question: "text",
  answer: "text",
  img: "image",
  depth_image: "image",
  mask: "image",
} as const;

test("RoboSpatial-Home: polygons in shares become pixels; the three means", async () => {
  const folder = await tempFolder();
  const img = await png(200, 100);
  const row = { img, depth_image: img, mask: null };
  await putParquet(folder, "data/context-00000-of-00001.parquet", roomColumns, [
    {
      ...row,
      mask: img,
      category: "context",
      question:
        "Point to free space left of the kettle. Your answer should be formatted as a list of tuples, i.e. [(x1, y1)].",
      answer: "[(0.1, 0.1), (0.3, 0.1), (0.3, 0.3), (0.1, 0.3)]",
    },
  ]);
  for (const category of ["compatibility", "configuration"])
    await putParquet(folder, `data/${category}-00000-of-00001.parquet`, roomColumns, [
      {
        ...row,
        category,
        question: "Is the lamp left of the sofa? Answer yes or no.",
        answer: "yes",
      },
      { ...row, category, question: "Does the box fit? Answer yes or no.", answer: "no" },
    ]);
  const { records } = await loadBenchmark(robospatial, folder);
  expect(records.map(({ kind, question }) => [kind, question])).toContainEqual([
    "point",
    "Point to free space left of the kettle.",
  ]);
  const place = records.find(({ kind }) => kind === "point");
  expect(place?.answer).toEqual({ polygon: [[20, 10], [60, 10], [60, 30], [20, 30]] }); // prettier-ignore
  const answers = records.map(({ kind }) => (kind === "point" ? "(30, 20)" : "Yes."));
  const figures = scoresOf(robospatial, "ours", records, answers);
  expect(figures["total (mean of the three)"]).toBeCloseTo(2 / 3);
  expect(figures["configuration and compatibility (mean of both)"]).toBe(0.5);
  expect(figures.overall).toBeCloseTo(3 / 5);
  expect(scoresOf(robospatial, "vigorl", records, answers)).not.toHaveProperty("overall");
});

const yesNo = (answer: string): TaskRecord => ({
  id: "q",
  images: [],
  question: "?",
  kind: "yes-no",
  answer,
});

test.each([
  ["yes", "Yes.", 1, 1],
  ["yes", "Answer: yes", 0, 1],
  ["yes", "yes, it is not blocked", 1, 0],
  ["no", "Not sure", 1, 1],
  ["no", "I know it fits", 0, 1],
])(
  "RoboSpatial, gold %s: %j scores %d officially, %d in lmms-eval",
  (gold, reply, official, lmms) => {
    expect(verdictOf(robospatial, "official", yesNo(gold), reply).score).toBe(official);
    expect(verdictOf(robospatial, "lmms-eval", yesNo(gold), reply).score).toBe(lmms);
  },
);

test.each([
  ["(0.2, 0.2)", 1],
  ["(0.1, 0.1)", 1],
  ["[[0.2, 0.25]]", 1],
  ["[(0.9,0.9),(0.2,0.2)]", 0],
  ['{"point_2d": [200, 200]}', 0],
  ["(-0.2, 0.2)", 0],
])("RoboSpatial's polygon, official: %j scores %d", (reply, right) => {
  const polygon = [[0.1, 0.1], [0.3, 0.1], [0.3, 0.3], [0.1, 0.3]] as const; // prettier-ignore
  const record: TaskRecord = {
    ...yesNo("yes"),
    kind: "point",
    answer: { polygon },
    facts: { polygon: polygon.flat() },
  };
  expect(verdictOf(robospatial, "official", record, reply).score).toBe(right);
});
