import { expect, test } from "vitest";
import { stream } from "../core/random.ts";
import type { TaskRecord } from "../task/record.ts";
import type { Records } from "../task/records.ts";
import { askedUnder } from "./controls.ts";
import type { Outcome } from "./outcome.ts";
import { optionOrderOf } from "./option-order.ts";
import { notesOf, sectionsMarkdown } from "./report-sections.ts";
import type { Arm } from "./report.ts";
import { withOutcomes } from "./with-records.ts";

const choices = ["red", "blue", "green", "black"];
const records: TaskRecord[] = Array.from({ length: 400 }, (_, i) => ({
  id: `q${i}`,
  images: [],
  question: "Which?\nA. red\nB. blue\nC. green\nD. black",
  kind: "choice",
  answer: choices[i % 4],
  choices,
}));
const open: TaskRecord = { id: "open", images: [], question: "?", kind: "text", answer: "x" };
const asked = askedUnder("options-shuffled", [...records, open], 3);

/** A model that picks by `pick`, as an outcome. */
function answered(record: TaskRecord, pick: (record: TaskRecord) => string): Outcome {
  const answer = pick(record);
  return {
    recordId: record.id,
    category: null,
    score: answer === record.answer ? 1 : 0,
    answer,
    toolUses: 0,
    tokens: { written: 1, read: 1 },
    stopReason: "answered",
    error: null,
    reply: { text: answer, view: null },
  };
}
const order = (pick: (record: TaskRecord) => string) => {
  const questions = (some: Records) =>
    withOutcomes(
      some,
      [...some].map((record) => answered(record, pick)),
    );
  return optionOrderOf(questions(records), questions(asked.records), asked.leftOut);
};

test("a model that knows keeps its choice, wherever the right option stands", async () => {
  const found = await order(({ answer }) => answer as string);
  expect(found).toMatchObject({ n: 400, lost: 0, gained: 0, sameChoice: 1, p: null });
  expect(found?.leftOut).toEqual({ "have no options": 1 });
  // Three orders in four move it; five standard deviations.
  expect(Math.abs((found?.moved ?? 0) - 300)).toBeLessThan(45);
});

test("a model that always says the first is found out", async () => {
  const found = await order(({ choices: [first] = [""] }) => first);
  expect(found?.p).toBeLessThan(0.001);
  expect(found?.places.map(({ shuffled }) => shuffled.accuracy)).toEqual([1, 0, 0, 0]);
  expect(found?.places.map(({ shuffled }) => shuffled.chosen)).toEqual([400, 0, 0, 0]);
});

test("a model that guesses is found out at the level of the test alone", async () => {
  const values: number[] = [];
  for (let i = 0; i < 60; i++) {
    const rng = stream(i, "guess");
    const found = await order(({ choices: options = [] }) => rng.pick(options));
    values.push(found?.p ?? 1);
  }
  const found = values.filter((p) => p < 0.05).length;
  // Three of sixty are expected; more than eleven come once in ten thousand times.
  expect(found).toBeLessThanOrEqual(11);
});

test("the report tells it in a sentence and a table", async () => {
  const options = await order(({ choices: [first] = [""] }) => first);
  if (options === null) throw new Error("nothing was asked");
  const arm: Arm = {
    name: "options-shuffled",
    task: "colours",
    n: 400,
    accuracy: 0.25,
    ci95: [0.2, 0.3],
    toolUsesPerEpisode: 0,
    seconds: 1,
    categories: {},
    stopReasons: {},
    options,
  };
  const [note] = notesOf(arm);
  expect(note).toMatch(
    /of 400 questions \d+ have their right option elsewhere; \d+ are right only/,
  );
  expect(note).toMatch(/depends on the place of the right option \(permutation test, p = 0\.0005/);
  expect(note).toMatch(/1 that have no options are not asked/);
  const table = sectionsMarkdown([arm]);
  expect(table[0]).toBe("### options-shuffled: by place");
  expect(table.find((line) => line.startsWith("| 1 |"))).toMatch(
    /\| 1 \| 100 \| 100\.0 % \| 400 \| \d+ \| 100\.0 % \| 400 \|/,
  );
});
