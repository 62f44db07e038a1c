/** Datasets: JSONL lines of every kind, and Parquet files, with their pictures. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readDataset } from "../../../src/data/dataset.ts";
import { writeDataset } from "../../../src/data/write.ts";
import { loadImages, toLine, type TaskRecord } from "../../../src/task/record.ts";
import { mutateBytes, mutateValue } from "../mutate.ts";
import type { Target } from "../target.ts";

const picture = { kind: "render", name: "p", render: () => gradient } as const;
const gradient = {
  widthPx: 4,
  heightPx: 3,
  data: Uint8Array.from({ length: 36 }, (_, i) => 7 * i),
};

const sound: readonly TaskRecord[] = [
  { id: "t", images: [picture], question: "what?", kind: "text", answer: "cup", source: "made" },
  {
    id: "c",
    images: [picture, picture],
    question: "which?",
    kind: "choice",
    answer: "left",
    choices: ["left", "right"],
    category: "x",
  },
  { id: "n", images: [picture], question: "how many?", kind: "number", answer: "7" },
  { id: "p", images: [picture], question: "where?", kind: "point", answer: { box: [0, 0, 2, 2] } },
  {
    id: "r",
    images: [picture],
    question: "where?",
    kind: "point",
    answer: { point: [1, 1], radius: 1 },
  },
  { id: "a", images: [picture], question: "do", kind: "action", answer: "click [12]" },
];

async function read(file: string): Promise<unknown> {
  const records = await readDataset(file);
  return Promise.all(records.slice(0, 4).map(loadImages));
}

const lines = sound.map((record) =>
  toLine(
    record,
    record.images.map(() => "p.png"),
  ),
);

export const jsonl: Target = {
  name: "jsonl",
  extension: ".jsonl",
  input: (random) => {
    const values = random.chance(0.3) ? lines : lines.map((line) => mutateValue(line, random));
    const text = Buffer.from(values.map((value) => JSON.stringify(value)).join("\n"));
    return random.chance(0.5) ? mutateBytes(text, random) : text;
  },
  run: read,
};

const folder = mkdtempSync(join(tmpdir(), "vigorl-fuzz-seed-"));
await writeDataset(join(folder, "own.parquet"), sound, { images: "copy" });
const parquets = [
  join(folder, "own.parquet"),
  new URL("../../../src/data/fixtures/hugging-face.parquet", import.meta.url).pathname,
].map((file) => readFileSync(file));

export const parquet: Target = {
  name: "parquet",
  extension: ".parquet",
  input: (random) => mutateBytes(random.pick(parquets), random),
  run: read,
};
