import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { imageHash } from "../image/model-image.ts";
import { judge } from "../task/judge.ts";
import { loadImages } from "../task/record.ts";
import { nanoRecords, nanoTaskNames } from "./tasks.ts";
import { relations } from "./world.ts";

test.each(nanoTaskNames)("%s records are reproducible and extend each other", async (task) => {
  const options = { task, split: "heldout", seed: 5 } as const;
  const few = nanoRecords({ ...options, count: 3 });
  const more = nanoRecords({ ...options, count: 6 });
  const plain = (records: typeof few) => records.map(({ images: _, ...rest }) => rest);
  expect(plain(more.slice(0, 3))).toEqual(plain(few));
  const hash = async (record: (typeof few)[number]) => {
    const [image] = await loadImages(record);
    expect([image.widthPx, image.heightPx]).toEqual([448, 448]);
    return imageHash(image);
  };
  expect(await hash(more[1])).toBe(await hash(few[1]));
  expect(await hash(more[1])).not.toBe(await hash(more[2]));
  expect(plain(nanoRecords({ ...options, seed: 6, count: 3 }))).not.toEqual(plain(few));
});

test("answers are what the judge takes for right", () => {
  const records = nanoTaskNames.flatMap((task) =>
    nanoRecords({ task, split: "train", count: 5, seed: 1 }),
  );
  for (const record of records) {
    if (typeof record.answer === "string") {
      expect(judge(record, record.answer)).toBe(1);
    } else if ("box" in record.answer) {
      const [x0, y0, x1, y1] = record.answer.box;
      expect(judge(record, `(${(x0 + x1) / 2}, ${(y0 + y1) / 2})`)).toBe(1);
      expect(judge(record, `(${x1}, ${y1})`)).toBe(0);
    }
  }
});

test("each relation comes up", () => {
  const records = nanoRecords({ task: "relation", split: "train", count: 60, seed: 2 });
  for (const relation of relations)
    expect(records.filter(({ answer }) => answer === relation).length).toBeGreaterThan(4);
});

test("tasks are listed in their table alone; chats of the base have kinds of their own", () => {
  const source = new URL("../", import.meta.url).pathname;
  const lists = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => {
    if (!file.endsWith(".ts") || file.endsWith(".test.ts") || file.startsWith("nano/"))
      return false;
    const text = readFileSync(join(source, file), "utf8");
    return nanoTaskNames.every((name) => new RegExp(`\\b${name}\\b`).test(text));
  });
  expect(lists).toEqual([]);
});
