/** HR-Bench, VisualProbe, TreeBench, MME-RealWorld, O3-Bench, ZoomBench: layouts, scores, vectors. */
import { expect, test } from "vitest";
import { loadImages } from "../../task/record.ts";
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
import { hrbench4k } from "./hrbench.ts";
import { loadBenchmark } from "./load.ts";
import { mmeRealworld } from "./mme-realworld.ts";
import { o3Bench } from "./o3-bench.ts";
import { figuresOf } from "./score.ts";
import { citedOverlap, treebench } from "./treebench.ts";
import { visualprobe } from "./visualprobe.ts";
import { zoombench } from "./zoombench.ts";

const text = "text" as const;

test("HR-Bench: pictures as base64 in a column of text, in both forms", async () => {
  const row = {
    index: 0,
    question: "What is the number on the bib?",
    answer: "A",
    category: "single",
    A: "27",
    B: "21",
    C: "77",
    D: "72",
    cycle_category: "0",
    image: base64(await png(30, 20)),
  };
  const folder = await tempFolder();
  const columns = {
    index: "int",
    question: text,
    answer: text,
    category: text,
    A: text,
    B: text,
    C: text,
    D: text,
    cycle_category: text,
    image: text,
  } as const;
  await putParquet(folder, "hr_bench_4k.parquet", columns, [
    row,
    { ...row, index: 1, cycle_category: "1", answer: "B" },
  ]);
  const { records } = await loadBenchmark(hrbench4k, folder);
  expect((await loadImages(records[0]))[0]).toMatchObject({ widthPx: 30, heightPx: 20 });
  expect(scoresOf(hrbench4k, "ours", records, ["27", "A"])).toEqual({ all: 0.5, single: 0.5 });
  const tsv = await tempFolder();
  putTsv(tsv, "hr_bench_4k.tsv", [
    row,
    { ...row, index: 1, cycle_category: "1", answer: "B", image: 0 },
  ]);
  const again = await loadBenchmark(hrbench4k, tsv);
  expect(again.records.map(({ answer, facts }) => [answer, facts])).toEqual(
    records.map(({ answer, facts }) => [answer, facts]),
  );
  expect((await loadImages(again.records[1]))[0].widthPx).toBe(30);
});

test("HR-Bench: the mean of four orders, not all four right", () => {
  const hits = { s1: "1110", s2: "0010", c1: "1111", c2: "0100" };
  const scored = Object.entries(hits).flatMap(([id, cycles]) =>
    cycles.split("").map((hit, cycle) => ({
      record: choiceRecord(["a", "b"], 0, {
        id: `${id}-${cycle}`,
        category: id.startsWith("s") ? "single" : "cross",
        facts: { cycle: String(cycle) },
      }),
      verdict: { score: Number(hit), read: "A", how: "read" as const },
    })),
  );
  const figures = figuresOf(hrbench4k, "ours", scored);
  expect(Object.fromEntries(figures.map(({ name, value }) => [name, value]))).toEqual({
    all: 0.5625,
    single: 0.5,
    cross: 0.625,
  });
});

test.each([
  ["A", "A"],
  ["A. 27B", "A"],
  ["The number is 27B", "A"],
  ["Is it A or B", "llm"],
  ["27", "llm"],
])("HR-Bench in lmms-eval reads %j as %s", (reply, letter) => {
  const record = choiceRecord(["27B", "37B", "27D", "27E"], 0, { facts: { cycle: "0" } });
  expect(readOf(hrbench4k, "lmms-eval", record, reply)).toBe(letter);
});

test("VisualProbe: a folder for each difficulty, short answers", async () => {
  const folder = await tempFolder();
  const row = {
    images: ["data/0012.jpg"],
    problem: "<image>\nWhat colour is the hat next to the kiosk?",
    solution: "White.",
  };
  putJson(folder, "hard/val.json", [
    { ...row, doc_id: "visual_probe_hard_12", data_source: "visual_probe_hard" },
    { ...row, doc_id: "visual_probe_hard_13", data_source: "visual_probe_hard", solution: "12" },
  ]);
  putJson(folder, "easy/val.json", [
    {
      ...row,
      images: ["data/0013.jpg"],
      doc_id: "visual_probe_easy_1",
      data_source: "visual_probe_easy",
    },
  ]);
  put(folder, "hard/data/0012.jpg", await png(8, 8));
  put(folder, "easy/data/0013.jpg", await png(8, 8));
  const { records } = await loadBenchmark(visualprobe, folder);
  expect(records.map(({ kind, category, question }) => [kind, category, question])).toEqual([
    ["text", "easy", "What colour is the hat next to the kiosk?"],
    ["text", "hard", "What colour is the hat next to the kiosk?"],
    ["number", "hard", "What colour is the hat next to the kiosk?"],
  ]);
  expect(scoresOf(visualprobe, "ours", records, ["white", "red", "12"])).toMatchObject({
    easy: 1,
    hard: 0.5,
  });
  const official = (reply: string) => verdictOf(visualprobe, "official", records[0], reply);
  expect([official("<answer>The white.</answer>").score, official("White.").how]).toEqual([
    1,
    "unread",
  ]);
});

test("TreeBench: boxes of what has to be looked at, and how replies cite them", async () => {
  const folder = await tempFolder();
  const image = base64(await png(100, 100));
  putTsv(folder, "TreeBench.tsv", [
    {
      index: 0,
      image,
      question: "What is it?",
      A: "a cup",
      B: "a jar",
      answer: "B",
      category: "Perception/Material",
      target_instances: "[[10.0, 20.0, 40.0, 60.0]]",
    },
    {
      index: 1,
      image,
      question: "Read it.",
      A: "",
      B: "",
      answer: "F",
      category: "Perception/OCR",
      target_instances: "[]",
    },
  ]);
  const { records } = await loadBenchmark(treebench, folder);
  expect(records[0].facts).toMatchObject({ gold: 1, boxes: [[10, 20, 40, 60]] });
  const replies = ["<box>[10,20,40,60]</box><answer>b</answer>", "<answer>F</answer>"];
  const scored = records.map((record, i) => ({
    record,
    verdict: verdictOf(treebench, "official", record, replies[i]),
  }));
  const figures = figuresOf(treebench, "official", scored);
  expect(Object.fromEntries(figures.map(({ name, value }) => [name, value]))).toMatchObject({
    overall: 1,
    Perception: 1,
    "mIoU of cited boxes": 1,
  });
  expect(scoresOf(treebench, "ours", records, ["B", "F"]).overall).toBe(1);
  expect(readOf(treebench, "vlmevalkit", records[0], "THE BOARD IS B")).toBe("E");
});

test("TreeBench: overlap of cited boxes", () => {
  const target = [0, 0, 10, 10] as const;
  expect(citedOverlap("<box>[0,0,10,10]</box>", [target])).toBe(1);
  expect(citedOverlap("<box>[5,0,15,10]</box>", [target])).toBeCloseTo(1 / 3);
  expect(citedOverlap("<box>[0,0,10,10]</box>", [target, [50, 50, 60, 60]])).toBe(0.5);
  expect(citedOverlap("<box>[0, 0, 10, 10]</box>", [target])).toBe(0);
  expect(citedOverlap("none", [target])).toBe(0);
});

test("a box of TreeBench outside its picture is refused by name", async () => {
  const folder = await tempFolder();
  const row = {
    index: 0,
    image: base64(await png(30, 30)),
    question: "?",
    A: "a",
    B: "b",
    answer: "B",
    category: "x",
  };
  putTsv(folder, "TreeBench.tsv", [{ ...row, target_instances: "[[100.0, 20.0, 140.0, 60.0]]" }]);
  await expect(loadBenchmark(treebench, folder)).rejects.toThrow(
    /row 1: box \[100, 20, 140, 60\] lies outside the 30×30/,
  );
});

const choices = [
  "(A) STOP",
  "(B) GO",
  "(C) SLOW",
  "(D) YIELD",
  "(E) The image does not feature the sign.",
];

test("MME-RealWorld: published JSON and the copy with base64 are the same questions", async () => {
  const folder = await tempFolder();
  putJson(folder, "MME_RealWorld.json", [
    {
      Question_id: "perception/x/0001",
      Image: "a.jpg",
      Text: "What is on the sign?",
      "Answer choices": choices,
      "Ground truth": "A",
      Task: "Perception",
      Subtask: "OCR in the Wild",
      Category: "street",
    },
  ]);
  put(folder, "imgs/a.jpg", await png(9, 9));
  const copy = await tempFolder();
  await putParquet(
    copy,
    "data/train-00000-of-00001.parquet",
    {
      index: text,
      question: text,
      "multi-choice options": "texts",
      answer: text,
      category: text,
      "l2-category": text,
      bytes: text,
    },
    [
      {
        index: "perception/x/0001",
        question: "What is on the sign?",
        "multi-choice options": choices,
        answer: "A",
        category: "Perception/OCR in the Wild",
        "l2-category": "street",
        bytes: base64(await png(9, 9)),
      },
    ],
  );
  const [a, b] = await Promise.all([folder, copy].map((data) => loadBenchmark(mmeRealworld, data)));
  expect(b.records.map(({ images: _, ...rest }) => rest)).toEqual(
    a.records.map(({ images: _, ...rest }) => rest),
  );
  expect((await loadImages(b.records[0]))[0].widthPx).toBe(9);
  expect(scoresOf(mmeRealworld, "ours", a.records, ["(A) STOP"])).toEqual({
    overall: 1,
    "Avg-C (mean of classes)": 1,
    "replies E": 0,
  });
});

test.each([
  ["The best answer is: C", "C"],
  ["Because it is red, D", "B"],
  ["the right one", "unread"],
  ["", "A"],
  ["b", "B"],
])("MME-RealWorld reads %j as %s", (reply, letter) => {
  const record = choiceRecord(["1", "2", "3", "4", "5"], 0, {
    facts: { task: "t", subtask: "s", class: "c" },
  });
  expect(readOf(mmeRealworld, "official", record, reply)).toBe(letter);
});

test("O3-Bench: lines of metadata, six options in a text", async () => {
  const folder = await tempFolder();
  putJsonl(folder, "test/metadata.jsonl", [
    {
      file_name: "images/map/12.jpg",
      subset: "map",
      question: "Which way?",
      options: "A. north\nB. south\nC. east\nD. west\nE. up\nF. No right choice",
      answer: "C",
      explanation: "…",
      target_layouts: [[0, 0, 1, 1]],
    },
  ]);
  put(folder, "test/images/map/12.jpg", await png(8, 8));
  const { records } = await loadBenchmark(o3Bench, folder);
  expect(records[0].choices).toHaveLength(6);
  expect(scoresOf(o3Bench, "ours", records, ["east"]).overall).toBe(1);
  expect(readOf(o3Bench, "official", records[0], "<answer>C. east</answer>")).toBe("C");
  expect(readOf(o3Bench, "official", records[0], "it is Copenhagen")).toBe("llm");
});

test("ZoomBench: two views of the same questions; letters out of words", async () => {
  const folder = await tempFolder();
  await putParquet(
    folder,
    "data/test-00000-of-00001.parquet",
    { image: "image", crop_image: "image", prompt: text, answer: text },
    [
      {
        image: await png(40, 40),
        crop_image: await png(10, 10),
        prompt: "<image>\nWhich colour?\nA. red\nB. blue",
        answer: "B",
      },
      { image: await png(40, 40), crop_image: await png(10, 10), prompt: "How many?", answer: "7" },
    ],
  );
  const full = await loadBenchmark(zoombench, folder);
  const crop = await loadBenchmark(zoombench, folder, { split: "crop" });
  const widths = await Promise.all(
    [full, crop].map(async ({ records }) => (await loadImages(records[0]))[0].widthPx),
  );
  expect(widths).toEqual([40, 10]);
  expect(scoresOf(zoombench, "ours", full.records, ["blue", "7"])).toEqual({
    overall: 1,
    open: 1,
    options: 1,
  });
  const read = (reply: string) => readOf(zoombench, "official", full.records[0], reply);
  expect([read("<answer>Answer: B</answer>"), read("Blue"), read("Answer: B")]).toEqual([
    "A",
    "B",
    "B",
  ]);
});
