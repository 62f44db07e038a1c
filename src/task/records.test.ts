import { expect, test } from "vitest";
import { digitRecord } from "./fixtures/scene.ts";
import { changedRecords, firstRecords, recordAt, spreadRecords } from "./records.ts";

const records = Array.from({ length: 10 }, (_, i) => ({ ...digitRecord, id: `q${i}` }));
const ids = (some: Iterable<{ readonly id: string }>) => [...some].map(({ id }) => id);

test("changed records are those of their places, in their order, and looked at when they are asked for", () => {
  let numChanged = 0;
  const loud = changedRecords(records, (record) => {
    numChanged++;
    return { ...record, id: record.id.toUpperCase() };
  });
  expect(loud.length).toBe(10);
  expect(numChanged).toBe(0);
  expect(recordAt(loud, 3).id).toBe("Q3");
  expect(numChanged).toBe(1);
  const some = changedRecords(loud, (record) => record, [7, 2]);
  expect(ids(some)).toEqual(["Q7", "Q2"]);
  expect([some.length, some.at(1)?.id, some.at(2)]).toEqual([2, "Q2", undefined]);
  expect(() => recordAt(some, 2)).toThrow("no record 2 of 2");
});

test("the first, and some from all", () => {
  expect(ids(firstRecords(records, 2))).toEqual(["q0", "q1"]);
  expect(ids(firstRecords(records, 99))).toHaveLength(10);
  expect(ids(spreadRecords(records, 3))).toEqual(["q0", "q3", "q6"]);
  expect(ids(spreadRecords(records, 99))).toHaveLength(10);
  expect(spreadRecords([], 4)).toEqual([]);
});
