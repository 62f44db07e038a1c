import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { differencesOf } from "./differences.ts";
import { readJsonFile } from "./json-file.ts";

test("half a file, another form and none are one error with the file's name and the fix", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "vigorl-json-")), "stage.json");
  const schema = z.strictObject({ folder: z.string(), seconds: z.number() });
  const read = () => readJsonFile(file, schema, "remove it");
  await expect(read()).rejects.toMatchObject({
    code: "io",
    message: expect.stringContaining(file),
  });
  for (const [text, problem] of [
    ['{"folder": "a", "sec', "cut off, or not JSON"],
    ["", "cut off, or not JSON"],
    ['{"folder": "a", "secnds": 1}', 'unknown key "secnds"; did you mean seconds?'],
    ['{"folder": 1, "seconds": 1}', "folder: must be a string (got 1)"],
  ]) {
    await writeFile(file, text);
    await expect(read()).rejects.toMatchObject({
      code: "input",
      message: expect.stringContaining(`${file}: `) && expect.stringContaining(problem),
      hint: "remove it",
    });
  }
  await writeFile(file, '{"folder": "a", "seconds": 1}');
  expect(await read()).toEqual({ folder: "a", seconds: 1 });
});

test("differences are told by key", () => {
  const before = { name: "a", rl: { groupSize: 8, steps: 3 }, data: [1, 2] };
  expect(differencesOf(before, { ...before })).toEqual([]);
  expect(
    differencesOf(before, { name: "a", rl: { groupSize: 4 }, data: [1], extra: true }),
  ).toEqual([
    "rl.groupSize was 8, is 4",
    "rl.steps was 3, is absent",
    "data was [1,2], is [1]",
    "extra was absent, is true",
  ]);
});
