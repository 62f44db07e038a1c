import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeJsonl } from "../core/jsonl.ts";
import { learningCurves } from "./curves.ts";

test("one panel a stage, one line a figure, with its last value", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "nano-curves-")), "metrics.jsonl");
  await writeJsonl(file, [
    { step: 5, stage: "tower", stageStep: 5, loss: 9 },
    { step: 10, stage: "tower", stageStep: 10, loss: 8, digit: 0.25 },
    { step: 20, stage: "tower", stageStep: 20, loss: 7, digit: 0.5 },
    { step: 30, stage: "chats", stageStep: 10, loss: 2, place: 0.75, read: 1 },
  ]);
  const svg = await learningCurves(file);
  expect(svg.match(/<polyline/g)).toHaveLength(3);
  expect(svg).toContain("digit 0.500");
  expect(svg).toContain("place 0.750");
  expect(svg).not.toContain("loss");
});
