import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetWriteFile } from "hyparquet-writer";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodePng } from "../image/decode.ts";
import { gradientImage } from "../task/fixtures/scene.ts";
import { judge } from "../task/judge.ts";
import { rewardConfigSchema, scoreEpisode } from "../task/reward.ts";
import { loadImages, type TaskRecord } from "../task/record.ts";
import { openDataset, readDataset } from "./dataset.ts";
import { importRepoFile } from "./import-repo.ts";
import { writeDataset } from "./write.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-data-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const drawn = (widthPx: number) =>
  ({ kind: "render", name: "g", render: () => gradientImage(widthPx, 8) }) as const;
const records: TaskRecord[] = [
  { id: "t", images: [drawn(8)], question: "what?", kind: "text", answer: "{}", source: "made" },
  {
    id: "c",
    images: [drawn(9), drawn(8)],
    question: "which?\nA. left\nB. right",
    kind: "choice",
    answer: "left",
    choices: ["left", "right"],
    category: "x",
  },
  {
    id: "p",
    images: [drawn(9)],
    question: "where?",
    kind: "point",
    answer: { box: [1, 2.5, 3, 4] },
  },
  {
    id: "r",
    images: [drawn(9)],
    question: "where?",
    kind: "point",
    answer: { point: [1, 2], radius: 3 },
  },
];

async function content(record: TaskRecord) {
  const { images: _, ...rest } = record;
  return { ...rest, images: await loadImages(record) };
}

describe.each(["set.jsonl", "set.parquet"])("%s", (name) => {
  test("what is written reads back", async () => {
    const file = join(folder, name);
    expect(await writeDataset(file, records, { images: "copy" })).toBe(4);
    const back = await readDataset(file);
    expect(await Promise.all(back.map(content))).toEqual(await Promise.all(records.map(content)));
    expect((await readdir(folder)).filter((entry) => entry.endsWith(".writing"))).toEqual([]);
  });

  test("a limit stops early, several files follow each other", async () => {
    const file = join(folder, name);
    await writeDataset(file, records, { images: "copy" });
    const ids = async (source: string | string[], limit: number) => {
      const out: string[] = [];
      for await (const record of openDataset(source, { limit })) out.push(record.id);
      return out;
    };
    expect(await ids(file, 2)).toEqual(["t", "c"]);
    expect(await ids([file, file], 6)).toEqual(["t", "c", "p", "r", "t", "c"]);
    await expect(readDataset([file, file])).rejects.toThrow(/two records have the id "t"/);
  });
});

test("many rows come back in order, over row groups", async () => {
  const file = join(folder, "many.parquet");
  const many = Array.from({ length: 150 }, (_, i) => ({ ...records[0], id: `n${i}` }));
  await writeDataset(file, many, { images: "copy" });
  expect((await readDataset(file)).map((record) => record.id)).toEqual(many.map(({ id }) => id));
});

test("JSONL keeps each picture once, and paths where asked to", async () => {
  await writeDataset(join(folder, "a.jsonl"), records, { images: "copy" });
  expect(await readdir(join(folder, "images"))).toHaveLength(2);
  const back = await readDataset(join(folder, "a.jsonl"));
  await writeDataset(join(folder, "sub", "b.jsonl"), back, { images: "reference" });
  expect(await readdir(join(folder, "sub"))).toEqual(["b.jsonl"]);
  const again = await readDataset(join(folder, "sub", "b.jsonl"));
  expect(await content(again[1])).toEqual(await content(records[1]));
});

test("bad files are named", async () => {
  await expect(readDataset(join(folder, "no.jsonl"))).rejects.toThrow(/no\.jsonl: no such file/);
  await expect(readDataset(join(folder, "no.parquet"))).rejects.toThrow(
    /no\.parquet: no such file/,
  );
  await writeFile(join(folder, "x.parquet"), "not parquet at all");
  await expect(readDataset(join(folder, "x.parquet"))).rejects.toThrow(/not a Parquet file/);
  await expect(readDataset(join(folder, "x.csv"))).rejects.toThrow(/\.jsonl or a \.parquet/);
});

describe("Parquet files of others", () => {
  const fixtures = new URL("fixtures/", import.meta.url).pathname;

  test("images as structs, zstd, and region answers as structs", async () => {
    const back = await readDataset(join(fixtures, "hugging-face.parquet"));
    expect(back.map(({ id, kind, answer }) => ({ id, kind, answer }))).toEqual([
      { id: "0", kind: "point", answer: { box: [1, 2, 3, 4] } },
      { id: "1", kind: "point", answer: { box: [5, 6, 7, 8] } },
    ]);
    expect(back[0].category).toBe("icon");
    expect(back[1].category).toBeUndefined();
    const [image] = await loadImages(back[0]);
    expect([image.widthPx, image.heightPx, ...image.data.slice(0, 3)]).toEqual([4, 3, 10, 20, 30]);
  });

  test("a column with no place here is refused by name", async () => {
    await expect(readDataset(join(fixtures, "unknown-column.parquet"))).rejects.toThrow(
      /unknown column difficulty/,
    );
  });
});

describe("damaged and odd Parquet", () => {
  test("names row group and column, and the next file is read as if nothing had been", async () => {
    const file = join(folder, "many.parquet");
    const many = Array.from({ length: 100 }, (_, i) => ({ ...records[0], id: `n${i}` }));
    await writeDataset(file, many, { images: "copy" });
    const whole = await readFile(file);
    const bad = join(folder, "bad.parquet");
    const spoilt = Buffer.from(whole);
    spoilt.fill(0xff, 8, 200); // the first pages, not the footer
    await writeFile(bad, spoilt);
    await expect(readDataset(bad)).rejects.toThrow(/bad\.parquet: row group \d+, column \w+: /);
    await writeFile(bad, whole.subarray(0, whole.length - 100));
    await expect(readDataset(bad)).rejects.toThrow(/bad\.parquet: not a Parquet file/);
    expect(await readDataset(file)).toHaveLength(100);
  });

  test("a pointer of Git LFS is called one, in every form", async () => {
    const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for (const name of ["x.parquet", "x.jsonl"]) {
      await writeFile(join(folder, name), pointer);
      await expect(readDataset(join(folder, name))).rejects.toThrow(/x\.\w+: is a Git LFS pointer/);
    }
    await writeFile(join(folder, "p.png"), pointer);
    const record = {
      ...records[0],
      images: [{ kind: "path", path: join(folder, "p.png") }],
    } as const;
    await expect(loadImages(record)).rejects.toThrow(/is a Git LFS pointer/);
  });

  test("row numbers of pandas are passed over, counts may be numbers", async () => {
    const file = join(folder, "pandas.parquet");
    const png = await encodePng(gradientImage(4, 4));
    parquetWriteFile({
      filename: file,
      columnData: [
        { name: "id", data: ["a"], type: "STRING" },
        { name: "image", data: [png], type: "BYTE_ARRAY" },
        { name: "question", data: ["how many?"], type: "STRING" },
        { name: "kind", data: ["number"], type: "STRING" },
        { name: "answer", data: [7n], type: "INT64" },
        { name: "__index_level_0__", data: [0n], type: "INT64" },
      ],
    });
    expect((await readDataset(file))[0]).toMatchObject({ id: "a", answer: "7" });
  });
});

describe("Parquet columns that JSON could not say", () => {
  const png = Buffer.alloc(8, 1);
  const sound = {
    id: { data: ["a"], type: "STRING" },
    image: { data: [png], type: "BYTE_ARRAY" },
    question: { data: ["how many?"], type: "STRING" },
    kind: { data: ["number"], type: "STRING" },
    answer: { data: ["7"], type: "STRING" },
  };
  type Column = { name: string; data: unknown[]; type: "STRING" | "BYTE_ARRAY" | "INT64" };
  async function readWith(...columns: Column[]) {
    const file = join(folder, "odd.parquet");
    const changed = columns.map(({ name }) => name);
    const kept = Object.entries(sound)
      .filter(([name]) => !changed.includes(name))
      .map(([name, column]) => ({ name, ...column }) as Column);
    parquetWriteFile({ filename: file, columnData: [...kept, ...columns] as never });
    return readDataset(file);
  }

  test("whole numbers beyond 53 bits keep every digit", async () => {
    const [record] = await readWith({ name: "answer", data: [2n ** 62n], type: "INT64" });
    expect(record.answer).toBe("4611686018427387904");
  });

  test("bytes that are no text are refused, and none replaced", async () => {
    const id = { name: "id", data: [Buffer.from([0x61, 0xff])], type: "BYTE_ARRAY" } as const;
    await expect(readWith({ ...id, data: [...id.data] })).rejects.toThrow(
      /odd\.parquet: row 1: id: is not UTF-8 text/,
    );
  });

  test("two columns of one name are refused", async () => {
    const answers = ["8", "9"].map((answer) => ({
      name: "answer",
      data: [answer],
      type: "STRING" as const,
    }));
    await expect(readWith(...answers)).rejects.toThrow(/two columns are called answer/);
  });
});

describe("the published layouts", () => {
  async function importLines(layout: "rl" | "eval", ...lines: object[]) {
    const file = join(folder, "rows.jsonl");
    await writeFile(file, lines.map((line) => JSON.stringify(line)).join("\n"));
    return importRepoFile(file, { layout, imageRoot: folder });
  }

  test("RL rows", async () => {
    await writeFile(join(folder, "a.png"), await encodePng(gradientImage(8, 8)));
    const {
      records: read,
      dropped,
      droppedFields,
    } = await importLines(
      "rl",
      { problem: "<image>\nDescription: the bin", answer: "(10, 20, 30, 40)", images: ["a.png"] },
      { problem: "<image> Left?\nA. yes\nB. no", answer: "yes", images: ["a.png"], extra: 1 },
      { problem: "what?", answer: "Red", images: ["a.png"] },
      { problem: "do", answer: "click [12]", images: ["a.png"] },
      { problem: "what?", answer: "", images: ["a.png"] },
      { problem: "what?", answer: "x", images: [] },
      { answer: "x", images: ["a.png"] },
    );
    expect(read.map(({ id, kind, answer }) => [id, kind, answer])).toEqual([
      ["rows-1", "point", { box: [10, 20, 31, 41] }],
      ["rows-2", "choice", "yes"],
      ["rows-3", "text", "Red"],
      ["rows-4", "action", "click [12]"],
    ]);
    expect(read[0].question).toBe("Description: the bin");
    expect(read[1].choices).toEqual(["yes", "no"]);
    expect((await loadImages(read[0]))[0].widthPx).toBe(8);
    expect(dropped).toEqual([
      { line: 5, reason: "no answer" },
      { line: 6, reason: "no images" },
      { line: 7, reason: "no question" },
    ]);
    expect(droppedFields).toEqual({ extra: 1 });
  });

  test("search and evaluation rows, in both shapes of a conversation", async () => {
    const turns = [
      { from: "human", value: "<image>What?\n(A) red\n(B) blue" },
      { from: "gpt", value: "B" },
    ];
    const {
      records: read,
      dropped,
      droppedFields,
    } = await importLines(
      "eval",
      { id: 5, image: "a.png", conversations: turns, bbox: [1, 2] },
      { id: "6", image: "a.png", conversations: { from: ["human", "gpt"], value: ["Q", "yes"] } },
      { id: "7", conversations: turns },
      { id: "8", image: "a.png", conversations: [] },
    );
    expect(read.map(({ id, kind, answer }) => [id, kind, answer])).toEqual([
      ["5", "choice", "B"],
      ["6", "text", "yes"],
    ]);
    expect(dropped).toEqual([
      { line: 3, reason: "no image" },
      { line: 4, reason: "no conversation of question and answer" },
    ]);
    expect(droppedFields).toEqual({ bbox: 1 });
  });

  test("a box holds the same points for every judge and reward, as published and ours", async () => {
    await writeFile(join(folder, "a.png"), await encodePng(gradientImage(8, 8)));
    const { records } = await importLines("rl", {
      problem: "Where is the bin?",
      answer: "(7, 7, 35, 56)",
      images: ["a.png"],
    });
    const [record] = records;
    const published = rewardConfigSchema.parse({ profile: "repo" });
    for (const [x, y, right] of [
      [7, 7, 1],
      [35, 56, 1],
      [36, 57, 0],
      [35, 57, 0],
      [6, 7, 0],
    ]) {
      const answer = `(${x}, ${y})`;
      expect(judge(record, answer)).toBe(right);
      expect(judge(record, answer, { profile: "repo" })).toBe(right);
      for (const tools of [[], ["zoom"]]) {
        const response = `<think>(1, 2)</think><answer>${answer}</answer>`;
        const unseen = {
          answer,
          points: [],
          toolUses: [],
          turns: [],
          wellFormed: true,
          view: null,
        };
        const worth = scoreEpisode({ ...unseen, response, tools }, record, published);
        expect(worth.accuracy).toBe(right);
      }
    }
  });

  test("a kind that is asked for is held to", async () => {
    const file = join(folder, "rows.jsonl");
    await writeFile(file, JSON.stringify({ problem: "?", answer: "left", images: ["a.png"] }));
    const options = { layout: "rl", imageRoot: folder, kind: "point" } as const;
    const { dropped } = await importRepoFile(file, options);
    expect(dropped[0].reason).toMatch(/"left" is no box/);
  });
});
