import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cardOfRun } from "./card-of-run.ts";
import { nanoCard } from "./nano/card.ts";
import { nanoRecords } from "./nano/tasks.ts";
import { loadRecipe } from "./recipe.ts";
import { doubtsAbout } from "./task/model-card.ts";
import type { TaskRecord } from "./task/record.ts";

const recipe = loadRecipe("recipes/nano.yaml", []);
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-card-"));
  await writeFile(join(folder, "vigorl.json"), JSON.stringify(nanoCard()));
});
afterAll(() => rm(folder, { recursive: true }));

const [drawn] = nanoRecords({ task: "search", split: "train", count: 1, seed: 1 });
/** A plain picture of one level, of a size that is not the nano world's. */
const plain = (level: number) => ({
  widthPx: 64,
  heightPx: 64,
  data: new Uint8Array(64 * 64 * 3).fill(level),
});
const own = Array.from({ length: 20 }, (_, i): TaskRecord => ({
  ...drawn,
  id: String(i),
  question: "What is it, a circle?",
  images: [{ kind: "render", name: String(i), render: () => Promise.resolve(plain(40 + 10 * i)) }],
}));

test("a model that is trained on its own world says what it said", async () => {
  const records = nanoRecords({ task: "search", split: "train", count: 200, seed: 1 });
  const card = await cardOfRun("rl", recipe, [{ task: "search", records }], folder);
  expect({ ...card, settings: null }).toEqual({ ...nanoCard(), settings: null });
});

test("what it is trained on is no longer doubted, and everything else still is", async () => {
  const card = await cardOfRun("sft", recipe, [{ task: "shapes", records: own }], folder);
  expect(doubtsAbout(nanoCard(), "What is it, a circle?", [plain(100)])).toHaveLength(2);
  expect(doubtsAbout(card, "What is it, a circle?", [plain(100)])).toEqual([]);
  expect(doubtsAbout(card, "Where is the login?", [])).toHaveLength(1);
  expect(card.about).toMatch(/knows nothing else\. Trained by vigorl sft on shapes\.$/);
  expect(card.examples[0]).toBe("What is it, a circle?");
  // Trained once more on the same, it says the same.
  await writeFile(join(folder, "vigorl.json"), JSON.stringify(card));
  const again = await cardOfRun("sft", recipe, [{ task: "shapes", records: own }], folder);
  expect(again).toEqual(card);
});
