/** docs/architecture.md speaks of what is there: its files, its types, and a walk that stays short. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
const page = readFileSync(join(root, "docs/architecture.md"), "utf8");

/** Rows of the walk: file and the type that leaves it, where one does. */
const walk = Array.from(
  page.matchAll(/^\| \d+ .*\| `(src\/[^`]+)`\s*\|\s*(?:`(\w+)`)?\s*\|$/gm),
  ([, file, type]) => ({ file, type }),
);

test("the walk of a question takes at most 30 files and 25 types", () => {
  expect(walk.length).toBeGreaterThan(20);
  expect(new Set(walk.map(({ file }) => file)).size).toBeLessThanOrEqual(30);
  expect(walk.filter(({ type }) => type !== undefined).length).toBeLessThanOrEqual(25);
});

test.each(walk)("$file is there, and knows $type", ({ file, type }) => {
  const text = readFileSync(join(root, file), "utf8");
  expect(text).toMatch(new RegExp(String.raw`\b${type ?? "export"}\b`));
});

test("every other file that it names is there", () => {
  const named = Array.from(page.matchAll(/`(src\/[\w./-]+)`/g), ([, path]) => path);
  expect(named.filter((path) => !path.includes("<") && !existsSync(join(root, path)))).toEqual([]);
});
