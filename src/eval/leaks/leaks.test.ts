import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stream } from "../../core/random.ts";
import { encodeJpeg, encodePng, type RgbImage } from "../../image/decode.ts";
import { bitsApart } from "../../image/near-hash.ts";
import { resize } from "../../image/resize.ts";
import { nanoRecords } from "../../nano/tasks.ts";
import { loadImages, type PlacedRecord, type TaskRecord } from "../../task/record.ts";
import { findLeaks, type LeakOptions } from "./find.ts";
import { HashIndex } from "./hash-index.ts";
import { leakLines, leakTable } from "./table.ts";
import { WordsIndex, wordsOf } from "./words.ts";

describe("hashes within so many bits of another", () => {
  test("are all found, and no others", () => {
    const rng = stream(1, "hashes");
    const draw = () => [rng.int(0, 2 ** 31 - 1) * 2, rng.int(0, 2 ** 31 - 1) * 2 + 1] as const;
    const centres = Array.from({ length: 20 }, draw);
    const hashes = Array.from({ length: 2000 }, (_, i) => {
      let [high, low] = centres[i % 20];
      for (let bit = rng.int(0, 24); bit > 0; bit--)
        if (rng.chance(0.5)) high ^= 1 << rng.int(0, 31);
        else low ^= 1 << rng.int(0, 31);
      return [high >>> 0, low >>> 0] as const;
    });
    const index = new HashIndex(hashes.length, 11);
    for (const [high, low] of hashes) index.add(high, low);
    for (const [high, low] of centres) {
      const found = new Set<number>();
      index.near(high >>> 0, low >>> 0, (entry) => found.add(entry));
      const near = hashes.flatMap(([a, b], i) =>
        bitsApart(a, high) + bitsApart(b, low) <= 11 ? [i] : [],
      );
      expect([...found].sort((a, b) => a - b)).toEqual(near);
      expect(near.length).toBeGreaterThan(20);
    }
  });
});

describe("words", () => {
  const found = (a: string, b: string) => {
    const index = new WordsIndex();
    index.add(wordsOf({ question: a }));
    return index.find(wordsOf({ question: b }))[0]?.similarity ?? null;
  };
  const long =
    "How many of the people who stand on the left side of the platform carry a red umbrella?";
  test.each<[string, string, number | null]>([
    [long, long.toUpperCase().replaceAll(" ", "  "), 1],
    [`${long}\nA. one\nB. two`, `${long} \n(A) three\n(B) four`, 1],
    ["Which digit?", "which  DIGIT", 1],
    ["a", "a", 1],
    [long, "What colour is the car in front of the house?", null],
    [long, long.replace("umbrella", "suitcase").replace("platform", "staircase"), null],
  ])("%j and %j", (a, b, similarity) => expect(found(a, b)).toBe(similarity));

  test("near ones are found", () => {
    expect(found(long, long.replace("a red", "one red"))).toBeGreaterThan(0.8);
    expect(found(long, `Please look: ${long}`)).toBeGreaterThan(0.8);
  });

  test("what is found is what the sets say, whatever the words", () => {
    const shingles = (text: string) =>
      new Set(Array.from({ length: Math.max(1, text.length - 4) }, (_, i) => text.slice(i, i + 5)));
    const text = fc
      .array(fc.constantFrom("red", "cup", "on", "the", "table", "left", "seven"), {
        minLength: 3,
        maxLength: 20,
      })
      .map((words) => words.join(" "));
    const { counterexample } = fc.check(
      fc.property(text, fc.nat(), (a, at) => {
        const words = a.split(" ");
        const b = words.toSpliced(at % words.length, 1).join(" ");
        const [one, other] = [shingles(a), shingles(b)];
        const both = [...one].filter((part) => other.has(part)).length;
        const similarity = both / (one.size + other.size - both);
        const told = found(a, b);
        if (similarity < 0.8) return told === null;
        // Bands find all but one in five thousand of those at four fifths.
        return similarity < 0.85 || Math.abs((told ?? 0) - similarity) < 1e-9;
      }),
      { seed: 1 },
    );
    expect(counterexample).toBeNull();
  });
});

const scenes = (split: "train" | "heldout", count: number) =>
  nanoRecords({ task: "search", split, count, seed: 1 });
async function* placed(records: readonly TaskRecord[]): AsyncGenerator<PlacedRecord> {
  for (const [i, record] of records.entries()) yield { record, place: `train.jsonl:${i + 1}` };
}
const compare = (
  evaluated: readonly TaskRecord[],
  training: readonly TaskRecord[],
  depth: LeakOptions["depth"] = "pixels",
) => findLeaks([{ task: "t", records: evaluated }], placed(training), { depth });

let folder: string;
let pictures: RgbImage[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-leaks-"));
  pictures = (await Promise.all(scenes("heldout", 8).map(loadImages))).map(([image]) => image);
});
afterAll(() => rm(folder, { recursive: true }));

/** A record whose picture lies on disk. */
async function filed(id: string, bytes: Uint8Array, question = `What is ${id}?`, answer = "x") {
  const path = join(folder, `${id}.img`);
  await writeFile(path, bytes);
  return { id, images: [{ kind: "path", path }], question, kind: "text", answer } as TaskRecord;
}
const topics = [
  "How many boats are moored along the wooden pier in the morning?",
  "Which colour has the scarf of the woman who feeds the pigeons?",
  "What time does the clock above the ticket counter show?",
  "Is the bicycle leaning against the bakery or the bookshop?",
  "What is written on the sign behind the tallest fir tree?",
  "Who holds the map while the others look at the mountain?",
  "Where does the path that starts at the bridge lead to?",
  "Which animal sleeps under the table beside the fireplace?",
];
const described = (i: number) => topics[i];

test("each way in which a picture can be there is found and named", async () => {
  const size = { widthPx: 200, heightPx: 200 };
  const evaluated = await Promise.all(
    pictures.map(async (image, i) => filed(`e${i}`, await encodePng(image), described(i))),
  );
  const training = [
    await filed("same-file", await encodePng(pictures[0]), "Say what you see."),
    await filed("same-pixels", await encodePng({ ...pictures[1] }).then(repacked), "Describe it."),
    await filed("jpeg", await encodeJpeg(pictures[2], 70), "What?"),
    await filed("small", await encodePng(resize(pictures[3], size, "bicubic")), "Who?"),
    await filed("cut", await encodePng(cut(pictures[4], 20, 35)), "When?"),
    await filed("again", await encodeJpeg(pictures[5], 60), described(5)),
    await filed("words", await encodePng(pictures[0]), described(6)),
    ...scenes("train", 4),
  ];
  const found = await compare(evaluated, training);
  expect(found).toMatchObject({ asked: 8, trained: 11, pictures: 8, trainedPictures: 11 });
  const told = found.leaks.map(({ id, what, partner, picture, partners }) => [
    id,
    what,
    partner.id,
    picture?.how ?? null,
    partners,
  ]);
  expect(told).toEqual([
    ["e0", "picture", "same-file", "file", 2],
    ["e1", "picture", "same-pixels", "pixels", 1],
    ["e2", "picture", "jpeg", "near", 1],
    ["e3", "picture", "small", "near", 1],
    ["e4", "picture", "cut", "cut", 1],
    ["e5", "question", "again", "near", 1],
    ["e6", "words", "words", null, 1],
  ]);
  expect(leakTable(found)).toHaveLength(2 + 7);
  expect(leakLines(found)[0]).toMatch(
    /7 occur in it, 1 by picture and words, 5 by picture alone, 1/,
  );
  // Which pictures are read first decides nothing.
  expect(await compare(evaluated, training)).toEqual(found);
});

/** Other bytes, the same pixels. */
function repacked(png: Uint8Array): Uint8Array {
  const [at, text] = [33, Buffer.from("tEXtk\0v")];
  const chunk = Buffer.alloc(text.length + 8);
  chunk.writeUInt32BE(text.length - 4, 0);
  text.copy(chunk, 4);
  chunk.writeUInt32BE(crc(text), text.length + 4);
  return Buffer.concat([png.subarray(0, at), chunk, png.subarray(at)]);
}
function crc(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return (value ^ 0xffffffff) >>> 0;
}
function cut({ widthPx, heightPx, data }: RgbImage, x0: number, y0: number): RgbImage {
  const [width, height] = [widthPx - x0 - 15, heightPx - y0];
  const out = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++)
    out.set(
      data.subarray(3 * ((y + y0) * widthPx + x0), 3 * ((y + y0) * widthPx + x0 + width)),
      3 * y * width,
    );
  return { widthPx: width, heightPx: height, data: out };
}

test("unrelated scenes of the small world are no leaks, and its words are common", async () => {
  const found = await compare(scenes("heldout", 16), scenes("train", 40));
  expect(found.leaks.filter(({ what }) => what !== "words")).toEqual([]);
  expect(found.leaks.length + found.commonWords).toBeGreaterThan(0);
});

test("words about several pictures, or with another answer, give nothing away", async () => {
  const [png, other, third] = await Promise.all([0, 1, 2].map((i) => encodePng(pictures[i])));
  const asked = await filed("asked", png, described(1), "cup");
  const one = await filed("one", other, described(1), "cup");
  expect((await compare([asked], [one])).leaks).toMatchObject([{ what: "words" }]);
  const answered = await filed("answered", other, described(1), "jar");
  expect(await compare([asked], [answered])).toMatchObject({ leaks: [], commonWords: 1 });
  const two = await filed("two", third, described(1), "cup");
  expect(await compare([asked], [one, two])).toMatchObject({ leaks: [], commonWords: 1 });
});

test("files alone: equal bytes are found without decoding, drawn pictures are counted", async () => {
  const png = await encodePng(pictures[0]);
  const asked = [await filed("f0", png, described(1)), ...scenes("heldout", 2)];
  const training = [
    await filed("copy", png, "What?"),
    await filed("jpeg", await encodeJpeg(pictures[0], 80), "Which?"),
    await filed("no-picture", Buffer.from("not a picture"), "Who?"),
    ...scenes("train", 3),
  ];
  const found = await compare(asked, training, "files");
  expect(found.leaks).toMatchObject([
    { id: "f0", what: "picture", partner: { id: "copy" }, picture: { how: "file" } },
  ]);
  expect(found).toMatchObject({ drawn: 5, pictures: 1, trainedPictures: 3, unread: null });
  expect(leakLines(found).join()).toMatch(/by files and words.*5 pictures are drawn/);
});

test("what cannot be read is told, and nothing compared is no success", async () => {
  const asked = await filed("there", await encodePng(pictures[0]));
  const missing: TaskRecord = {
    ...asked,
    id: "missing",
    images: [{ kind: "path", path: join(folder, "none.png") }],
  };
  const found = await compare([asked], [missing, asked]);
  expect(found.unread).toMatchObject({
    count: 1,
    first: expect.stringMatching(/none\.png/) as string,
  });
  await expect(compare([asked], [missing])).rejects.toThrow(
    /no picture could be compared.*none\.png/,
  );
  await expect(compare([asked], [])).rejects.toThrow(/nothing was compared/);
});
