import { appendFile, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { indexJsonl } from "./jsonl-index.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-index-"));
});
afterAll(() => rm(folder, { recursive: true }));

const asItIs = (value: unknown, place: string) => ({
  value,
  line: Number(place.split(":").at(-1)),
});

test("lines are those that were written, in any order, behind a mark and between empty lines", async () => {
  const file = join(folder, "any.jsonl");
  const end = fc.constantFrom("\n", "\r\n", "\n\n", "\n \n");
  const rows = fc.array(fc.tuple(fc.record({ text: fc.string({ unit: "grapheme" }) }), end));
  await fc.assert(
    fc.asyncProperty(rows, fc.boolean(), fc.boolean(), async (values, hasMark, isClosed) => {
      const text = values.map(([value, after]) => JSON.stringify(value) + after).join("");
      await writeFile(file, (hasMark ? "\ufeff" : "") + (isClosed ? text : text.trimEnd()));
      const index = await indexJsonl(file, asItIs);
      const expected = values.map(([value]) => value);
      expect([...index].map(({ value }) => value)).toEqual(expected);
      expect(expected.map((_, i) => index.at(i)?.value)).toEqual(expected);
      expect(expected.map((_, i) => index.at(i)?.line)).toEqual([...index].map(({ line }) => line));
      expect(index.at(index.length)).toBeUndefined();
    }),
    { numRuns: 40 },
  );
});

test("a limit, a bad line with its place, and a file that is not there", async () => {
  const file = join(folder, "bad.jsonl");
  await writeFile(file, '{"a":1}\n\n{"a":2}\n{"a":\n');
  const seen: string[] = [];
  const onLine = (_: unknown, place: string) => void seen.push(place);
  const index = await indexJsonl(file, asItIs, { limit: 2, onLine });
  expect(seen).toEqual([`${file}:1`, `${file}:3`]);
  expect(index.at(1)).toEqual({ value: { a: 2 }, line: 3 });
  await expect(indexJsonl(file, asItIs)).rejects.toThrow(/bad\.jsonl:4: not a JSON value/);
  await expect(indexJsonl(join(folder, "none.jsonl"), asItIs)).rejects.toThrow(/no such file/);
});

test("a file that changes while it is in use is told, whatever it has become", async () => {
  const file = join(folder, "changed.jsonl");
  await writeFile(file, '{"a":1}\n{"a":2}\n');
  const longer = await indexJsonl(file, asItIs);
  await appendFile(file, '{"a":3}\n');
  expect(() => longer.at(0)).toThrow(/changed\.jsonl: was changed while it was in use/);
  const other = await indexJsonl(file, asItIs);
  await writeFile(join(folder, "other.jsonl"), '{"a":4}\n{"a":5}\n{"a":6}\n');
  await rename(join(folder, "other.jsonl"), file);
  expect(() => [...other]).toThrow(/was changed while it was in use/);
  const gone = await indexJsonl(file, asItIs);
  await rm(file);
  expect(() => gone.at(0)).toThrow(/no such file/);
});
