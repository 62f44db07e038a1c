/** What a model says it is for, and what is then doubted. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gradientImage } from "./fixtures/scene.ts";
import { doubtsAbout, readModelCard, type ModelCard } from "./model-card.ts";

const card: ModelCard = {
  version: 1,
  about: "reads digits",
  settings: {},
  examples: ["Which digit is on the red star?"],
  words: ["which", "digit", "is", "on", "the", "red", "star"],
  pictures: { about: "drawn scenes", ranges: { aspect: [0.9, 1.1], texture: [0, 0.01] } },
};

test("words that the model does not know are named, each once, and an example is given", () => {
  expect(doubtsAbout(card, "Which DIGIT is on the red star?", [])).toEqual([]);
  const [doubt] = doubtsAbout(card, "Is the cat on the Cat's hat?", []);
  expect(doubt).toBe(
    'the model knows 7 words, and not "cat", "s", "hat"; ask for example: Which digit is on the red star?',
  );
  const { words: _, ...wordy } = card;
  expect(doubtsAbout(wordy, "Is the cat on the hat?", [])).toEqual([]);
});

test("a picture unlike the model's own is told with what is unlike", () => {
  const flat = { widthPx: 64, heightPx: 64, data: new Uint8Array(64 * 64 * 3).fill(90) };
  expect(doubtsAbout(card, "star", [flat])).toEqual([]);
  const [doubt] = doubtsAbout(card, "star", [flat, gradientImage(96, 48)]);
  expect(doubt).toMatch(
    /^picture 2 is unlike those that the model was made for \(drawn scenes\): width to height 2, not 0\.9 to 1\.1/,
  );
});

test("a folder needs no card, and a broken one is named", async () => {
  const folder = await mkdtemp(join(tmpdir(), "vigorl-card-"));
  try {
    expect(await readModelCard(folder)).toBeNull();
    await writeFile(join(folder, "vigorl.json"), JSON.stringify(card));
    expect(await readModelCard(folder)).toEqual(card);
    await writeFile(join(folder, "vigorl.json"), JSON.stringify({ ...card, word: [] }));
    await expect(readModelCard(folder)).rejects.toThrow(/vigorl\.json: .*word/);
    await writeFile(join(folder, "vigorl.json"), "{");
    await expect(readModelCard(folder)).rejects.toThrow(/vigorl\.json/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
