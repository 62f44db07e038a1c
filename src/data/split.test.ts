import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TaskRecord } from "../task/record.ts";
import { splitByImage } from "./split.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-split-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A record with images that hold these words. */
async function record(id: string, ...words: string[]): Promise<TaskRecord> {
  const images = await Promise.all(
    words.map(async (word, i) => {
      const path = join(folder, `${id}-${i}.png`);
      await writeFile(path, word);
      return { kind: "path", path } as const;
    }),
  );
  return { id, images, question: "?", kind: "text", answer: "a" };
}

test("the same bytes are never on both sides, whatever their files are called", async () => {
  // Images 0 to 19 under two names each, and records that join two images.
  const records = await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      i < 40
        ? record(`r${i}`, `image ${i % 20}`)
        : record(`r${i}`, `image ${i % 20}`, `image ${(i % 20) ^ 1}`),
    ),
  );
  const { train, heldout, numGroups } = await splitByImage(records, { share: 0.2, seed: 1 });
  expect(numGroups).toBe(10);
  expect(train.length + heldout.length).toBe(60);
  expect(heldout.length).toBe(12);
  const pictures = (side: readonly TaskRecord[]) =>
    new Set(side.map(({ id }) => (Number(id.slice(1)) % 20) >> 1));
  for (const picture of pictures(heldout)) expect(pictures(train)).not.toContain(picture);
  const again = await splitByImage(records, { share: 0.2, seed: 1 });
  expect(again.heldout.map(({ id }) => id)).toEqual(heldout.map(({ id }) => id));
  const other = await splitByImage(records, { share: 0.2, seed: 2 });
  expect(other.heldout.map(({ id }) => id)).not.toEqual(heldout.map(({ id }) => id));
});

test("questions on one image alone cannot be split", async () => {
  const records = await Promise.all([record("a", "one"), record("b", "one"), record("c", "one")]);
  await expect(splitByImage(records, { share: 0.3, seed: 1 })).rejects.toThrow(/in 1 groups/);
});

test("a missing image is named with its record", async () => {
  const lost: TaskRecord = {
    ...(await record("x", "one")),
    images: [{ kind: "path", path: "no.png" }],
  };
  await expect(splitByImage([lost], { share: 0.5, seed: 1 })).rejects.toThrow(/record x: no\.png/);
});
