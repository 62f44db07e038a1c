/** The nano model's card says what its recipe and its world say. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { loadImages } from "../task/record.ts";
import { doubtsAbout, modelCardSchema } from "../task/model-card.ts";
import { nanoCard } from "./card.ts";
import { nanoRecords, nanoTaskNames } from "./tasks.ts";

test("the shipped model has it", () => {
  const file = new URL("../../models/nano/vigorl.json", import.meta.url);
  expect(modelCardSchema.parse(JSON.parse(readFileSync(file, "utf8")))).toEqual(nanoCard());
});

test("no question of its world is doubted, held-out ones neither", async () => {
  for (const task of nanoTaskNames)
    for (const record of nanoRecords({ task, split: "heldout", count: 12, seed: 5 }))
      expect(doubtsAbout(nanoCard(), record.question, await loadImages(record))).toEqual([]);
});

test("a screenshot and a question about it are", () => {
  const widthPx = 800;
  const data = Uint8Array.from({ length: widthPx * 450 * 3 }, (_, i) => (i % 7 < 3 ? 0 : 255));
  const doubts = doubtsAbout(nanoCard(), "Where is the login button?", [
    { widthPx, heightPx: 450, data },
  ]);
  expect(doubts).toHaveLength(2);
  expect(doubts[0]).toMatch(/not "login", "button"/);
});
