import { execFileSync } from "node:child_process";
import { appendFile, mkdtemp, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { appendJsonl, orderJsonl, readJsonlAll, truncateJsonl, writeJsonl } from "./jsonl.ts";

const row = z.strictObject({ step: z.number(), note: z.string() });

async function fileWith(text: string): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), "vigorl-jsonl-")), "x.jsonl");
  await writeFile(file, text);
  return file;
}

test("what is appended is read back", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ step: fc.integer(), note: fc.string() })),
      async (rows) => {
        const file = await fileWith("");
        const half = Math.floor(rows.length / 2);
        await appendJsonl(file, rows.slice(0, half));
        await appendJsonl(file, rows.slice(half));
        expect(await readJsonlAll(file, row)).toEqual(rows);
        await writeJsonl(file, rows);
        expect(await readJsonlAll(file, row)).toEqual(rows);
      },
    ),
    { numRuns: 30 },
  );
});

test("a bad line is named by file and number", async () => {
  const file = await fileWith('{"step":1,"note":"a"}\n\n{"step":"2","note":"b"}\n');
  await expect(readJsonlAll(file, row)).rejects.toThrow(`${file}:3: step: `);
  const unknown = await fileWith('{"step":1,"note":"a","more":1}\n');
  await expect(readJsonlAll(unknown, row)).rejects.toThrow(/:1: .*more/);
});

test("a torn last line is an error unless allowed", async () => {
  const file = await fileWith('{"step":1,"note":"a"}\n{"step":2,"no');
  await expect(readJsonlAll(file, row)).rejects.toThrow(`${file}:2: `);
  const rows = await readJsonlAll(file, row, { allowTornLastLine: true });
  expect(rows).toEqual([{ step: 1, note: "a" }]);
});

test("a byte order mark is passed over, and text that is not UTF-8 refused", async () => {
  const file = await fileWith('\ufeff{"step":1,"note":"é"}\r\n{"step":2,"note":"b"}');
  expect(await readJsonlAll(file, row)).toHaveLength(2);
  await writeFile(file, Buffer.from('{"step":1,"note":"\xe9"}\n', "latin1"));
  await expect(readJsonlAll(file, row)).rejects.toThrow(`${file}:1: is not UTF-8`);
});

test("a line is put together from any pieces", async () => {
  const notes = [1, 100, 1 << 18, (1 << 18) - 30, 3 << 18].map((length) => "ü".repeat(length));
  const rows = notes.map((note, step) => ({ step, note }));
  expect(
    await readJsonlAll(await fileWith(rows.map((r) => JSON.stringify(r)).join("\n")), row),
  ).toEqual(rows);
});

test("what is no regular file is refused at once", async () => {
  const folder = await mkdtemp(join(tmpdir(), "vigorl-jsonl-"));
  const pipe = join(folder, "pipe.jsonl");
  execFileSync("mkfifo", [pipe]);
  for (const [file, kind] of [
    [pipe, "a named pipe"],
    ["/dev/zero", "a device"],
    [folder, "a folder"],
  ])
    await expect(readJsonlAll(file, row)).rejects.toThrow(`${file}: is ${kind}, not a file`);
});

test("a damaged line is not taken for the end", async () => {
  const bad = '{"step":1,"note":"a"}\n{"st\n{"step":3,"note":"c"}\n{"ste';
  const file = await fileWith(bad);
  await expect(truncateJsonl(file)).rejects.toThrow(`${file}:2: not a JSON value`);
  expect(await readFile(file, "utf8")).toBe(bad);
  const half = await fileWith('{"step":1,"note":"a"}\n{"step":2,"note":"');
  await appendFile(half, Buffer.from("é").subarray(0, 1));
  expect(await truncateJsonl(half)).toBe(1);
  expect(await readFile(half, "utf8")).toBe('{"step":1,"note":"a"}\n');
});

test("truncation keeps whole lines up to the first that fails", async () => {
  const whole = '{"step":1,"note":"é"}\n{"step":2,"note":"b"}\n';
  const file = await fileWith(`${whole}{"step":3,"note":"c"}\n{"st`);
  expect(await truncateJsonl(file, (value) => (value as { step: number }).step <= 2)).toBe(2);
  expect(await readFile(file, "utf8")).toBe(whole);
  expect(await truncateJsonl(join(file, "..", "none.jsonl"), () => true)).toBe(0);
});

test("lines are put in order as they are, without a byte changed", async () => {
  const rows = [3, 1, 2, 1].map((step, i) => `{"step":${step},"note":"é ${i}"}\n`);
  const file = await fileWith(rows.join(""));
  const rankOf = (value: unknown) => (value as { step: number }).step;
  await orderJsonl(file, rankOf);
  const ordered = [rows[1], rows[3], rows[2], rows[0]].join("");
  expect(await readFile(file, "utf8")).toBe(ordered);
  const { ino } = await stat(file);
  await orderJsonl(file, rankOf);
  expect((await stat(file)).ino).toBe(ino);
  await orderJsonl(file, (value) => (rankOf(value) === 1 ? null : -rankOf(value)));
  expect(await readFile(file, "utf8")).toBe(rows[0] + rows[2]);
  await orderJsonl(join(file, "..", "none.jsonl"), rankOf);
});
