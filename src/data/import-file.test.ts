import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetWriteFile } from "hyparquet-writer";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodePng } from "../image/decode.ts";
import { gradientImage } from "../task/fixtures/scene.ts";
import { loadImages } from "../task/record.ts";
import { readDataset } from "./dataset.ts";
import type { FormName } from "./forms/table.ts";
import { importCoco, importRows } from "./import-file.ts";
import { writeDataset } from "./write.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-import-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function take(form: FormName, name: string, text: string) {
  const file = join(folder, name);
  await writeFile(file, text);
  return importRows(file, form, { imageRoot: folder });
}

const lines = (...rows: object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const summary = ({ records }: Awaited<ReturnType<typeof take>>) =>
  records.map(({ id, kind, question, answer, choices }) => ({
    id,
    kind,
    question,
    answer,
    ...(choices === undefined ? {} : { choices }),
  }));

describe("rows by their keys", () => {
  test.each<[string, FormName, object]>([
    ["plain", "jsonl", { question: "What?", answer: "red", image: "a.png" }],
    ["problem", "jsonl", { problem: "<image>What?", solution: "red", images: ["a.png"] }],
    ["EasyR1", "easyr1", { problem: "<image>\nWhat?", answer: "red", images: ["a.png"] }],
    [
      "TRL",
      "trl",
      { prompt: "What?", solution: "<think>It is.</think><answer>red</answer>", image: "a.png" },
    ],
    ["boxed", "jsonl", { query: "What?", response: "So \\boxed{red}.", image_path: "a.png" }],
    [
      "a data URL",
      "jsonl",
      { question: "What?", answer: "red", image: "data:image/png;base64,AAAA" },
    ],
  ])("%s", async (_, form, row) => {
    expect(summary(await take(form, "rows.jsonl", lines(row)))).toEqual([
      { id: "1", kind: "text", question: "What?", answer: "red" },
    ]);
  });

  test("what was mapped, guessed, changed, dropped and not kept is counted", async () => {
    const imported = await take(
      "jsonl",
      "rows.jsonl",
      lines(
        { id: 7, problem: "How many?", answer: 3, images: ["a.png"], difficulty: "hard" },
        { id: 7, problem: "Which?\nA. up\nB. down", answer: "B", images: ["a.png"] },
        { problem: "Click on it.", answer: { box: [1, 2, 3, 4] }, images: ["a.png"] },
        { problem: "Which?", choices: "up|down", answer: 0, images: ["a.png"] },
        { problem: "What?", images: ["a.png"] },
        { problem: "What?", answer: "x", images: ["https://example.org/a.png"] },
        { problem: "Which?", choices: ["up", "down"], answer: "left", images: ["a.png"] },
      ),
    );
    expect(summary(imported)).toEqual([
      { id: "7", kind: "number", question: "How many?", answer: "3" },
      {
        id: "2",
        kind: "choice",
        question: "Which?\nA. up\nB. down",
        answer: "B",
        choices: ["up", "down"],
      },
      { id: "3", kind: "point", question: "Click on it.", answer: { box: [1, 2, 3, 4] } },
      { id: "4", kind: "choice", question: "Which?", answer: "up", choices: ["up", "down"] },
    ]);
    expect(imported.dropped).toMatchObject([
      { line: 5, reason: /no answer/ },
      { line: 6, reason: /web address/ },
      { line: 7, reason: /none of the choices/ },
    ]);
    expect(imported.mapped).toMatchObject({ "problem → question": 6, "answer → answer": 6 });
    expect(imported.guessedKinds).toEqual({ number: 1, choice: 2, point: 1 });
    expect(imported.droppedFields).toEqual({ difficulty: 1 });
    expect(Object.keys(imported.notes)).toEqual([
      "ids that come twice, called by their row",
      "answers that count the options from 0, taken as the option",
    ]);
  });

  test.each([
    ["commas", "rows.csv", 'image,question,A,B,answer\na.png,"Which, then?",up,down,A\n'],
    ["semicolons", "rows.csv", "image;question;A;B;answer\r\na.png;Which, then?;up;down;A\r\n"],
    ["tabs", "rows.tsv", "image\tquestion\tA\tB\tanswer\na.png\tWhich, then?\tup\tdown\tA\n"],
  ])("a table with %s", async (_, name, text) => {
    expect(summary(await take("csv", name, text))).toEqual([
      { id: "1", kind: "choice", question: "Which, then?", answer: "A", choices: ["up", "down"] },
    ]);
  });

  test("a table with a torn row is named by its line", async () => {
    const text = "image,question,answer\na.png,What?,red\nb.png,What?\n";
    await expect(take("csv", "rows.csv", text)).rejects.toThrow(/rows\.csv: .*line 3/);
  });

  test("Parquet with pictures inside becomes a dataset with its pictures beside it", async () => {
    const file = join(folder, "set.parquet");
    const png = await encodePng(gradientImage(6, 4));
    const image = { bytes: png, path: "a" };
    parquetWriteFile({
      filename: file,
      columnData: [
        { name: "problem", data: ["What?"] },
        { name: "answer", data: ["red"] },
        { name: "images", data: [png], type: "BYTE_ARRAY" },
      ],
    });
    expect(image.path).toBe("a");
    const { records } = await importRows(file, "easyr1", { imageRoot: folder });
    const out = join(folder, "own/set.jsonl");
    await writeDataset(out, records, { images: "reference" });
    const [record] = await readDataset(out);
    expect(await loadImages(record)).toEqual([gradientImage(6, 4)]);
    expect(record.images[0]).toMatchObject({ path: /\.png$/ });
  });
});

describe("conversations", () => {
  const asked = { from: "human", value: "<image>\nWhat?" };
  test("ShareGPT, a list in a .json file, a record for each question", async () => {
    const conversations = [asked, { from: "gpt", value: "red" }];
    const more = [
      { from: "human", value: "How many?" },
      { from: "gpt", value: "2" },
    ];
    const rows = [
      { id: "a", image: "a.png", conversations },
      { id: "b", image: "a.png", conversations: [...conversations, ...more] },
      { id: "c", image: "a.png", conversations: [asked] },
      { id: "d", image: "a.png", conversations: [{ from: "robot", value: "hm" }] },
    ];
    const imported = await take("sharegpt", "rows.json", JSON.stringify(rows));
    expect(summary(imported)).toEqual([
      { id: "a", kind: "text", question: "What?", answer: "red" },
      { id: "b#1", kind: "text", question: "What?", answer: "red" },
      { id: "b#2", kind: "number", question: "How many?", answer: "2" },
    ]);
    expect(imported.dropped).toMatchObject([
      { line: 3, reason: "no question with a reply" },
      { line: 4, reason: /"robot"/ },
    ]);
  });

  test("messages with pictures in their parts, or beside them", async () => {
    const content = [
      { type: "image", image: "a.png" },
      { type: "text", text: "What?" },
    ];
    const reply = { role: "assistant", content: "red" };
    const rows = lines(
      { messages: [{ role: "system", content: "Be kind." }, { role: "user", content }, reply] },
      { messages: [{ role: "user", content: "What?" }, reply], images: ["a.png"] },
      { messages: [{ role: "user", content: "What?" }, reply] },
    );
    const imported = await take("messages", "rows.jsonl", rows);
    expect(imported.records.map(({ images }) => images)).toEqual(
      Array.from({ length: 2 }, () => [{ kind: "path", path: join(folder, "a.png") }]),
    );
    expect(imported.notes).toEqual({ "system messages left out": 1 });
    expect(imported.dropped).toEqual([{ line: 3, reason: "no images" }]);
  });

  test("TRL's prompt and completion", async () => {
    const prompt = [
      { role: "user", content: [{ type: "image" }, { type: "text", text: "What?" }] },
    ];
    const rows = lines(
      { prompt, completion: [{ role: "assistant", content: "red" }], images: ["a.png"] },
      { prompt, solution: "red", images: ["a.png"] },
    );
    const imported = await take("trl", "rows.jsonl", rows);
    expect(imported.records.map(({ answer }) => answer)).toEqual(["red", "red"]);
  });
});

describe("COCO", () => {
  const coco = {
    info: { year: 2026 },
    images: [
      { id: 1, file_name: "a.png" },
      { id: 2, file_name: "b.png" },
    ],
    categories: [
      { id: 5, name: "cat" },
      { id: 6, name: "dog" },
    ],
    annotations: [
      { id: 1, image_id: 1, category_id: 5, bbox: [10, 20, 30, 40] },
      { id: 2, image_id: 1, category_id: 6, bbox: [1, 1, 2, 2] },
      { id: 3, image_id: 1, category_id: 6, bbox: [5, 5, 2, 2] },
      { id: 4, image_id: 2, category_id: 5, bbox: [0, 0, 9, 9], iscrowd: 1 },
      { id: 5, image_id: 3, category_id: 5, bbox: [0, 0, 9, 9] },
    ],
  };
  const read = async (ask: "click" | "count") => {
    const file = join(folder, "coco.json");
    await writeFile(file, JSON.stringify(coco));
    return importCoco(file, ask, { imageRoot: folder });
  };

  test("asks for the one thing of a category", async () => {
    const { records, dropped } = await read("click");
    expect(records).toMatchObject([
      {
        id: "1-cat",
        kind: "point",
        question: "Click on the cat.",
        answer: { box: [10, 20, 40, 60] },
      },
    ]);
    expect(dropped.map(({ reason }) => reason)).toEqual([
      expect.stringContaining("several things"),
      "a crowd",
      "an image that the file does not list",
    ]);
  });

  test("or how many there are, with their boxes as evidence", async () => {
    const { records } = await read("count");
    expect(records.map(({ answer }) => answer)).toEqual(["1", "2"]);
    expect(records[1].evidence).toEqual([{ box: [1, 1, 3, 3] }, { box: [5, 5, 7, 7] }]);
  });
});
