import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { loadImages } from "../../task/record.ts";
import {
  base64,
  png,
  put,
  putJsonl,
  putParquet,
  putTsv,
  tempFolder,
} from "./fixtures/published.ts";
import { choiceRecord, readOf, verdictOf } from "./fixtures/vectors.ts";
import { loadBenchmark } from "./load.ts";
import { figuresOf, score } from "./score.ts";
import { vstar } from "./vstar.ts";

const scarf = {
  question_id: 0,
  image: "direct_attributes/sa_0001.jpg",
  text: "What is the colour of the scarf?\n(A) The scarf is blue.\n(B) The scarf is green.\n(C) The scarf is red.\n(D) The scarf is black.\nAnswer with the option's letter from the given choices directly.",
  category: "direct_attributes",
  label: "C",
};
const cup = {
  question_id: 1,
  image: "relative_position/sa_0002.jpg",
  text: "Is the cup left or right of the book?\n(A) The cup is left of the book.\n(B) The cup is right of the book.\nAnswer with the option's letter from the given choices directly.",
  category: "relative_position",
  label: "B",
};

async function published(): Promise<string> {
  const folder = await tempFolder();
  putJsonl(folder, "vstar_bench/test_questions.jsonl", [scarf, cup]);
  put(folder, `vstar_bench/${scarf.image}`, await png(64, 48));
  put(folder, `vstar_bench/${cup.image}`, await png(40, 40));
  return folder;
}

test("as published: options, letters and pictures", async () => {
  const { records, notes } = await loadBenchmark(vstar, await published());
  expect(
    records.map(({ answer, category, choices }) => [answer, category, choices?.length]),
  ).toEqual([
    ["C", "direct_attributes", 4],
    ["B", "relative_position", 2],
  ]);
  expect(records[0].question).toBe(
    "What is the colour of the scarf?\nA. The scarf is blue.\nB. The scarf is green.\nC. The scarf is red.\nD. The scarf is black.",
  );
  expect(notes).toEqual(["2 questions, where 191 are published"]);
  expect((await loadImages(records[0]))[0]).toMatchObject({ widthPx: 64, heightPx: 48 });
});

test("the Parquet copy and VLMEvalKit's TSV give the same questions", async () => {
  const parquet = await tempFolder();
  const bytes = [await png(64, 48), await png(40, 40)];
  await putParquet(
    parquet,
    "data/test-00000-of-00001.parquet",
    { image: "image", text: "text", category: "text", question_id: "text", label: "text" },
    [scarf, cup].map((row, i) => ({
      ...row,
      question_id: String(row.question_id),
      image: bytes[i],
    })),
  );
  const tsv = await tempFolder();
  putTsv(tsv, "VStarBench.tsv", [
    {
      index: 0,
      image: base64(bytes[0]),
      question: "What is the colour of the scarf?",
      A: "The scarf is blue.",
      B: "The scarf is green.",
      C: "The scarf is red.",
      D: "The scarf is black.",
      answer: "C",
      category: "direct_attributes",
    },
    {
      index: 1,
      image: base64(bytes[1]),
      question: "Is the cup left or right of the book?",
      A: "The cup is left of the book.",
      B: "The cup is right of the book.",
      answer: "B",
      category: "relative_position",
    },
  ]);
  const [a, b, c] = await Promise.all(
    [await published(), parquet, tsv].map((folder) => loadBenchmark(vstar, folder)),
  );
  const asked = ({ records }: typeof a) =>
    records.map(({ question, answer, choices, category }) => [question, answer, choices, category]);
  expect(asked(b)).toEqual(asked(a));
  expect(asked(c)).toEqual(asked(a));
  expect((await loadImages(b.records[1]))[0]).toMatchObject({ widthPx: 40 });
  expect((await loadImages(c.records[1]))[0]).toMatchObject({ widthPx: 40 });
});

test("a hand-checked score: one of two right, each of another category", async () => {
  const { records } = await loadBenchmark(vstar, await published());
  const scored = records.map((record, i) => ({
    record,
    verdict: score(vstar, "ours", record, { text: "", answer: ["(C)", "A"][i], view: null }),
  }));
  expect(figuresOf(vstar, "ours", scored)).toEqual([
    { name: "overall", value: 0.5, n: 2, mean: "micro" },
    { name: "direct_attributes", value: 1, n: 1, mean: "micro" },
    { name: "relative_position", value: 0, n: 1, mean: "micro" },
  ]);
});

test("a row without options, and a picture that is not there, are named", async () => {
  const folder = await tempFolder();
  putJsonl(folder, "test_questions.jsonl", [{ ...scarf, text: "What colour?" }]);
  await expect(loadBenchmark(vstar, folder)).rejects.toThrow(/picture direct_attributes\/sa_0001/);
  put(folder, scarf.image, await png(8, 8));
  await expect(loadBenchmark(vstar, folder)).rejects.toThrow(
    /test_questions\.jsonl:1: text: lists/,
  );
});

const colours = ["red", "blue", "green", "black"];
const record = (gold: number) => choiceRecord(colours, gold);

test.each([
  ["The answer is B.", "B"],
  ["Based on the image, the answer is A.", "B"],
  ["Answer: C", "A"],
  ["Cannot tell", "C"],
  ["Dark blue", "D"],
  ["left", "unread"],
])("lmms-eval reads %j as %s", (reply, letter) => {
  expect(readOf(vstar, "lmms-eval", record(0), reply)).toBe(letter);
});

test.each([
  ["<answer>A. red</answer>", 1],
  ["<answer>(A) red</answer>", 1],
  ["<answer> (A)</answer>", 0],
  ["<answer>a</answer>", 0],
  ["A", 0],
])("Mini-o3 scores %j with %d", (reply, right) => {
  expect(verdictOf(vstar, "mini-o3", record(0), reply).score).toBe(right);
});

test.each([
  ["A", 1, "read"],
  ["A.", 1, "read"],
  ["A. red", 1, "read"],
  [String.raw`\boxed{A}`, 1, "read"],
  ["B", 0, "read"],
  ["A)", 0, "llm"],
  ["red", 0, "llm"],
])("DeepEyes on %j: %d, %s", (reply, right, how) => {
  expect(verdictOf(vstar, "deepeyes", record(0), reply)).toMatchObject({ score: right, how });
});

test("the published judge of ViGoRL takes a letter inside another option's text", () => {
  const gold = choiceRecord(colours, 0, { answer: "A" });
  expect(verdictOf(vstar, "vigorl", gold, "B. a car").score).toBe(1);
  expect(verdictOf(vstar, "vigorl", gold, "(D) Blue").score).toBe(0);
  expect(verdictOf(vstar, "ours", gold, "B. a car").score).toBe(0);
});

/** The table of docs/why-numbers-differ.md. */
test("what scoring alone changes, as the docs have it", () => {
  const page = readFileSync(
    new URL("../../../docs/why-numbers-differ.md", import.meta.url),
    "utf8",
  );
  const lines = page.split("\n");
  const at = lines.findIndex((line) => line.startsWith("| reply"));
  const header = lines[at];
  const table = lines.slice(at + 2);
  const rows = table.slice(
    0,
    table.findIndex((line) => !line.startsWith("|")),
  );
  const cellsIn = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const protocols = cellsIn(header).slice(1);
  expect(rows).toHaveLength(6);
  const gold = choiceRecord(colours, 0, { answer: "A" });
  for (const line of rows) {
    const [reply, ...shown] = cellsIn(line);
    const said = reply.slice(1, -1);
    const found = protocols.map((protocol) => {
      const { score: right, how } = verdictOf(vstar, protocol, gold, said);
      return how === "llm" ? "language model" : String(right);
    });
    expect([said, ...found]).toEqual([said, ...shown]);
  }
});
