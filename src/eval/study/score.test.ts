import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { krippendorffAlpha } from "../../core/agreement.ts";
import type { KeyLine } from "./files.ts";
import { readRatings } from "./ratings.ts";
import { scoreStudy } from "./score.ts";
import { studyMarkdown, studyText } from "./words.ts";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "vigorl-ratings-"))));
afterAll(() => rmSync(folder, { recursive: true }));

/** Sentence 0 and 1 of one arm, 2 of another; each as `mN` with its place and `hN` with it hidden. */
const key: KeyLine[] = [0, 1, 2].flatMap((sentence) =>
  (["marked", "masked"] as const).map((condition) => ({
    version: 1 as const,
    id: `${condition === "marked" ? "m" : "h"}${sentence}`,
    sentence,
    condition,
    run: "runs/a",
    task: "search",
    group: sentence < 2 ? "rl" : "base",
    recordId: `q${sentence}`,
    turn: 0,
    written: "a star (1, 2)",
    point: { x: 1, y: 2 },
    shown: { x: 1, y: 2 },
    isRight: sentence === 0 ? true : sentence === 1 ? false : null,
  })),
);

async function read(text: string, name = "ratings.jsonl") {
  const file = join(folder, name);
  writeFileSync(file, text);
  return readRatings(file, key);
}

const lines = (values: readonly object[]) =>
  values.map((value) => `${JSON.stringify(value)}\n`).join("");

const rated = [
  { participant: "ann", item: "m0", accuracy: "yes", helpfulness: 5, clarity: 5 },
  { participant: "ann", item: "h1", clarity: 2 },
  { participant: "ann", item: "m2", accuracy: "no", helpfulness: 2, clarity: 4 },
  { participant: "bob", item: "m0", accuracy: "yes", helpfulness: 4 },
  { participant: "bob", item: "m1", accuracy: "unsure", helpfulness: 1 },
  { participant: "bob", item: "m2", accuracy: "yes", helpfulness: 3 },
  { participant: "cem", item: "h0", clarity: 3 },
  { participant: "cem", item: "m1", accuracy: "no", helpfulness: 1, clarity: 4 },
];

test("each person counts once; what is unsure counts for nothing", async () => {
  const score = scoreStudy(await read(lines(rated)), 1);
  expect(score).toMatchObject({ persons: 3, ratings: 8, items: 5, itemsTwice: 3 });
  const { all } = score;
  // ann 1 of 2, bob 2 of 2, cem 0 of 1.
  expect(all.accuracy).toMatchObject({ mean: 0.5, persons: 3, ratings: 5 });
  expect(all.unsure).toBe(1);
  // ann 3.5, bob 3.5, cem 1.
  expect(all.helpfulness?.mean).toBeCloseTo(8 / 3, 12);
  expect(all.helpfulnessRight).toMatchObject({ mean: (5 + 3.5) / 2, persons: 2, ratings: 3 });
  expect(all.helpfulnessWrong).toMatchObject({ mean: 1.5, persons: 2 });
  expect(all.clarityMarked).toMatchObject({ mean: 4.25, persons: 2, ratings: 3 });
  expect(all.clarityMasked).toMatchObject({ mean: 2.5, persons: 2 });
  expect(all.clarityGained).toMatchObject({ difference: 1.75, persons: 2 });
  expect(all.accuracy?.ci95?.[0]).toBe(0);
  expect(all.accuracy?.ci95?.[1]).toBe(1);
});

test("agreement is over items, with what is unsure missing; groups and answers are told apart", async () => {
  const score = scoreStudy(await read(lines(rated)), 1);
  expect(score.agreement.accuracyNominal).toBe(
    krippendorffAlpha(
      [
        [1, 1],
        [0, 1],
      ],
      "nominal",
    ),
  );
  expect(score.agreement.helpfulnessOrdinal).toBe(
    krippendorffAlpha(
      [
        [5, 4],
        [2, 3],
      ],
      "ordinal",
    ),
  );
  expect(score.agreement.clarityOrdinal).toBeNull();
  expect(score.groups.map(({ group, accuracy }) => [group, accuracy?.mean])).toEqual([
    ["search base", 0.5],
    ["search rl", 2 / 3],
  ]);
  expect(score.answers.map(({ group }) => group)).toEqual([
    "not judged",
    "right answers",
    "wrong answers",
  ]);
  expect(score.perItem.find(({ id }) => id === "m0")).toEqual({
    id: "m0",
    yes: 2,
    no: 0,
    unsure: 0,
    helpfulness: 4.5,
    clarity: 5,
  });
  expect(studyText(score)).toMatch(/accuracy of points, % +50\.0 +0\.0 to 100\.0 +3 +5/);
  expect(studyMarkdown("a | b", score)).toContain(String.raw`# a \| b`);
});

test("neither the order of the lines nor the form of the file changes a figure", async () => {
  const score = scoreStudy(await read(lines(rated)), 3);
  expect(scoreStudy(await read(lines(rated.toReversed())), 3).all).toEqual(score.all);
  const cells = rated.map((one) => {
    const {
      participant,
      item,
      accuracy = "",
      helpfulness = "",
      clarity = "",
    } = one as Record<string, string | number>;
    return [item, participant, clarity, accuracy, helpfulness].join(",");
  });
  const table = ["item,participant,clarity,accuracy,helpfulness", ...cells].join("\n");
  expect(scoreStudy(await read(`\ufeff${table}\n`, "ratings.csv"), 3)).toEqual(score);
  const german = table.replaceAll(",", ";");
  expect(scoreStudy(await read(german, "german.csv"), 3)).toEqual(score);
});

test("one person alone has no interval, and one kind of item no difference", async () => {
  const score = scoreStudy(await read(lines(rated.slice(0, 1))), 1);
  expect(score.all.accuracy).toMatchObject({ mean: 1, ci95: null, persons: 1 });
  expect(score.all.clarityGained).toBeNull();
  expect(score.all.helpfulnessWrong).toBeNull();
  expect(score.agreement.accuracyNominal).toBeNull();
  expect(score.groups).toEqual([]);
  expect(studyText(score)).toMatch(/… of points found wrong +–/);
});

test("every line that is wrong is told, and nothing is counted", async () => {
  const wrong = [
    JSON.stringify(rated[0]),
    "{",
    JSON.stringify({ participant: "ann", item: "zz", accuracy: "yes" }),
    JSON.stringify({ participant: "ann", item: "m0", accuracy: "no" }),
    JSON.stringify({ participant: "ann", item: "h0", clarity: 1 }),
    JSON.stringify({ participant: "bob", item: "m0", helpfulness: 3 }),
    JSON.stringify({ participant: "bob", item: "m1", accuracy: "maybe" }),
    JSON.stringify({ participant: "bob", item: "m2", accuracy: "yes", helpfulness: 6 }),
    JSON.stringify({ participant: "cem", item: "h1", accuracy: "yes", clarity: 3 }),
    JSON.stringify({ participant: "cem", item: "h2" }),
    JSON.stringify({ participant: "", item: "m1", accuracy: "yes" }),
    JSON.stringify({ participant: "dan", item: "m1", accuracy: "yes", note: "x" }),
    "[]",
  ];
  const told = await read(wrong.join("\n"), "wrong.jsonl").catch((error: Error) => error.message);
  for (const pattern of [
    /12 faults in the ratings:/,
    /wrong\.jsonl:2: not JSON/,
    /:3: item "zz" is none of this study/,
    /:4: "ann" has rated this sentence already, on line 1/,
    /:5: "ann" has rated this sentence already, on line 1/,
    /:6: accuracy is missing/,
    /:7: .*accuracy/,
    /:8: .*helpfulness/,
    /:9: accuracy is not asked of an item whose place is hidden/,
    /:10: clarity is missing/,
    /:11: .*participant/,
    /:12: .*note/,
    /:13: /,
  ])
    expect(told).toMatch(pattern);
});

test.each([
  ["", "empty.jsonl", /holds no ratings/],
  ["participant,item\n", "empty.csv", /holds no ratings/],
  ["", "none.csv", /its columns are none/],
  ["person,item\na,m0\n", "columns.csv", /columns\.csv:1: its columns are person, item/],
  ["participant,item,item\na,m0,m0\n", "twice.csv", /its columns are/],
  ["participant,item,accuracy\na,m0,yes,9\n", "long.csv", /long\.csv:2: has 4 cells instead of 3/],
  ['participant,item,accuracy\n"a,m0,yes\n', "quote.csv", /not CSV/],
  ["participant,item,helpfulness\na,m0,3.5\n", "half.csv", /half\.csv:2: .*helpfulness/],
  ["x", "ratings.txt", /are \.jsonl or \.csv/],
  ["\ufffd", "latin.jsonl", /not UTF-8/],
])("%j in %s is refused", async (text, name, pattern) => {
  await expect(read(text, name)).rejects.toThrow(pattern);
});

test("a file that is not there is named", async () => {
  await expect(readRatings(join(folder, "nowhere.csv"), key)).rejects.toThrow(/nowhere\.csv/);
});
