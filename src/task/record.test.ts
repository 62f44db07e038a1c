import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { encodePng } from "../image/decode.ts";
import { conditionTable } from "../eval/controls.ts";
import { fixturePath } from "../image/fixtures/digest.ts";
import { gradientImage } from "./fixtures/scene.ts";
import { letterIndex } from "./kinds/choice.ts";
import { loadImages, readRecords, toLine, withReading, type TaskRecord } from "./record.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-record-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function read(...lines: unknown[]): Promise<TaskRecord[]> {
  const file = join(folder, "train.jsonl");
  await writeFile(file, lines.map((line) => JSON.stringify(line)).join("\n"));
  const records: TaskRecord[] = [];
  for await (const record of readRecords(file)) records.push(record);
  return records;
}

const line = { id: "a", image: "a.png", question: "which?", kind: "text", answer: "7" };

test("reads records with their images beside the file", async () => {
  await writeFile(join(folder, "a.png"), await encodePng(gradientImage(6, 4)));
  const [record] = await read({ ...line, category: "digits", source: "made" });
  expect(record).toMatchObject({ id: "a", kind: "text", answer: "7", category: "digits" });
  expect(await loadImages(record)).toEqual([gradientImage(6, 4)]);
  expect(toLine(record, ["a.png"])).toEqual({ ...line, category: "digits", source: "made" });
});

test("a record's files are read by the rules that it was given, its controls too", async () => {
  const turned = await readFile(fixturePath("turned.jpg"));
  await writeFile(join(folder, "a.png"), turned);
  const [record] = await read(line);
  const sizeOf = async (one: TaskRecord) => {
    const [{ widthPx, heightPx }] = await loadImages(one);
    return [widthPx, heightPx];
  };
  expect(await sizeOf(record)).toEqual([32, 48]);
  const stored = withReading(record, "qwen-vl-utils");
  expect(await sizeOf(stored)).toEqual([48, 32]);
  expect(await sizeOf(conditionTable["no-image"].record(stored))).toEqual([48, 32]);
});

test("a line that a parser would take otherwise than it is written is refused", async () => {
  const file = join(folder, "train.jsonl");
  const first = async (text: string) => {
    await writeFile(file, text);
    for await (const record of readRecords(file)) return record;
    return undefined;
  };
  const whole = JSON.stringify(line);
  await expect(first(`{"id":"b",${whole.slice(1)}`)).rejects.toThrow(
    /train\.jsonl:1: has the key "id" twice/,
  );
  for (const deep of ["[".repeat(1e5), `{"x":${"[".repeat(1e5)}${"]".repeat(1e5)}}`])
    await expect(first(deep)).rejects.toThrow(/train\.jsonl:1: (nests deeper|not a JSON)/);
});

test.each<[string, object, RegExp]>([
  ["an unknown key", { ...line, answr: "7" }, /train\.jsonl:1: .*answr/],
  [
    "a number of more digits than JSON keeps",
    { ...line, kind: "number", answer: 2 ** 60 },
    /answer: must be text in quotes/,
  ],
  ["half a character", { ...line, question: "\ud800?" }, /question: .*lone surrogate/],
  ["half a character in a choice", { ...line, choices: ["\udfff", "b"] }, /lone surrogate/],
  ["no image", { ...line, image: undefined }, /:1: no image/],
  ["two ways to name images", { ...line, images: ["b.png"] }, /images: give image or images/],
  ["an empty answer", { ...line, answer: " " }, /every reply would match/],
  ["a number that is none", { ...line, kind: "number", answer: "seven" }, /no number/],
  ["a point without a region", { ...line, kind: "point" }, /wants \{box\}/],
  ["a number no answer can say", { ...line, kind: "number", answer: "1,5" }, /no number/],
  ["a number in another base", { ...line, kind: "number", answer: "0x1F" }, /no number/],
  ["an action that is none", { ...line, kind: "action", answer: "hover [3]" }, /is no action/],
  [
    "a region with a key too many",
    { ...line, kind: "point", answer: { box: [1, 1, 2, 2], r: 1 } },
    /wants \{box\}/,
  ],
  ["an empty box", { ...line, kind: "point", answer: { box: [5, 5, 5, 9] } }, /box is empty/],
  ["a region for a text", { ...line, answer: { box: [1, 1, 2, 2] } }, /wants a text/],
  [
    "an answer that is no choice",
    { ...line, kind: "choice", answer: "up", choices: ["left", "right"] },
    /none of the choices/,
  ],
  [
    "choices that all say the same",
    { ...line, kind: "choice", answer: "x", choices: ["x", "X."] },
    /:1: answer: all choices say the same/,
  ],
  [
    "a disc that no click hits",
    { ...line, kind: "point", answer: { point: [5, 5], radius: 0 } },
    /:1: answer\.radius: a disc of radius 0/,
  ],
  [
    "a polygon that is a line",
    {
      ...line,
      kind: "point",
      answer: {
        polygon: [
          [1, 1],
          [3, 3],
          [2, 2],
        ],
      },
    },
    /:1: answer\.polygon: the polygon is a line/,
  ],
])("names the line of %s", async (_, bad, message) => {
  await expect(read(bad)).rejects.toThrow(message);
});

test.each([
  [{ answer: 7 }, /:1: answer: must be text in quotes: "7"/],
  [{ answer: true }, /:1: answer: must be text in quotes: "true"/],
  [{ answer: null }, /:1: answer: is missing/],
  [{ answer: undefined }, /:1: answer: is missing/],
  [{ kind: "choice", choices: ["1", "2"], answer: 1 }, /must be text in quotes: "1"/],
])("names what an answer lacks: %j", async (change, message) => {
  await expect(read({ ...line, ...change })).rejects.toThrow(message);
});

test("null in keys that may be left out is nothing, and a count may be a number", async () => {
  const empty = { choices: null, category: null, source: null, images: null };
  const [record] = await read({ ...line, ...empty });
  expect(record).toMatchObject({ id: "a", answer: "7" });
  expect(record).not.toHaveProperty("category");
  const counts = await read(
    { ...line, kind: "number", answer: 7 },
    { ...line, kind: "number", answer: -0.5 },
  );
  expect(counts.map(({ answer }) => answer)).toEqual(["7", "-0.5"]);
});

test("names the second line when that is the bad one", async () => {
  await expect(read(line, { ...line, kind: "riddle" })).rejects.toThrow(/train\.jsonl:2: kind/);
});

test("a missing image is found when it is needed, and named", async () => {
  const [record] = await read(line);
  await expect(loadImages(record)).rejects.toThrow(/record a: .*a\.png: image not found/);
});

test("letters name choices", () => {
  expect(["A", "b", "(C)", "d.", "B)", "E", "AB", ""].map((text) => letterIndex(text, 4))).toEqual([
    0, 1, 2, 3, 1, -1, -1, -1,
  ]);
});

test("a line without an id is called by its number, one without a kind by what it asks for", async () => {
  const rest = { image: "a.png" };
  const records = await read(
    { ...rest, question: "How many dots?", answer: 3 },
    { ...rest, question: "How many dots?", answer: "none" },
    { ...rest, question: "Which?", answer: "up", choices: ["up", "down"] },
    { ...rest, question: "Where?", answer: { box: [1, 2, 3, 4] } },
    { ...rest, id: "17", question: "What?", answer: "red", evidence: [{ point: [4, 5] }] },
  );
  expect(records.map(({ id, kind }) => `${id} ${kind}`)).toEqual([
    "1 number",
    "2 text",
    "3 choice",
    "4 point",
    "17 text",
  ]);
  expect(records[4].evidence).toEqual([{ point: [4, 5] }]);
  await expect(
    read({ ...rest, question: "?", answer: "a", evidence: [{ bxo: [1, 2] }] }),
  ).rejects.toThrow(/train\.jsonl:1: evidence/);
  await expect(read({ ...rest, problem: "?", answer: "a" })).rejects.toMatchObject({
    hint: expect.stringContaining("data import") as string,
  });
  await expect(read({ ...rest, qestion: "?", answer: "a" })).rejects.toThrow(
    /unknown key "qestion"; did you mean question\?/,
  );
});
