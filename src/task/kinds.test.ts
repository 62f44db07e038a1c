import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { judge } from "./judge.ts";
import { kindNames, shownTruth, truthProblem, type Asked, type KindName } from "./kinds.ts";

/** A truth of each kind, and an answer that is right and one that is wrong by it. */
const samples: Record<KindName, { asked: Omit<Asked, "kind">; right: string; wrong: string }> = {
  text: { asked: { answer: "red" }, right: "Red.", wrong: "blue" },
  choice: { asked: { answer: "red", choices: ["blue", "red"] }, right: "B", wrong: "A" },
  number: { asked: { answer: "1250" }, right: "1,250", wrong: "125" },
  point: { asked: { answer: { box: [1, 2, 5, 6] } }, right: "(1, 2)", wrong: "(5, 6)" },
  action: { asked: { answer: "scroll [down]" }, right: "scroll [down]", wrong: "scroll [up]" },
  "yes-no": { asked: { answer: "no" }, right: "No.", wrong: "not sure" },
  maths: { asked: { answer: "\\frac{1}{2}" }, right: "0.5", wrong: "0.51" },
};

test.each(kindNames)("%s: a truth is checked, judged by and shown", (kind) => {
  const { asked, right, wrong } = samples[kind];
  const record: Asked = { kind, ...asked };
  expect(truthProblem(record)).toBeNull();
  expect([judge(record, right), judge(record, wrong), judge(record, null)]).toEqual([1, 0, 0]);
  expect(shownTruth(record).text).not.toBe("");
  const other = typeof record.answer === "string" ? { box: [0, 0, 1, 1] as const } : "red";
  expect(truthProblem({ ...record, answer: other })?.message).toContain(`kind "${kind}" wants`);
});

test("kinds are listed in their table alone", () => {
  const source = new URL("../", import.meta.url).pathname;
  const lists = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => {
    if (!file.endsWith(".ts") || file.endsWith(".test.ts") || file === "task/kinds.ts")
      return false;
    const text = readFileSync(join(source, file), "utf8");
    return kindNames.every((name) => new RegExp(`\\b${name}:|"${name}"[,\\]]`).test(text));
  });
  expect(lists).toEqual([]);
});
