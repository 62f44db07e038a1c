import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonRows } from "./json-rows.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-rows-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function rowsOf(text: string | Uint8Array) {
  const file = join(folder, "rows.json");
  await writeFile(file, text);
  const rows = [];
  for await (const { cells, number, place } of jsonRows(file))
    rows.push([number, place.slice(folder.length + 1), cells]);
  return rows;
}

test("a list is its rows, an object is one, a byte order mark is nothing", async () => {
  expect(await rowsOf('\ufeff[{"a": 1}, {"a": "é"}]')).toEqual([
    [1, "rows.json: row 1", { a: 1 }],
    [2, "rows.json: row 2", { a: "é" }],
  ]);
  expect(await rowsOf('{"a": 1}')).toEqual([[1, "rows.json", { a: 1 }]]);
  expect(await rowsOf("[]")).toEqual([]);
});

test("what is no row is told with its place", async () => {
  await expect(rowsOf('[{"a": 1}, 7]')).rejects.toThrow(/rows\.json: row 2: /);
  await expect(rowsOf('"a"')).rejects.toThrow(/rows\.json: /);
  await expect(rowsOf('[{"a": 1}')).rejects.toThrow(/rows\.json: cut off, or not JSON/);
  await expect(rowsOf(Buffer.from('[{"a": "\xff"}]', "latin1"))).rejects.toThrow(/is not UTF-8/);
});
