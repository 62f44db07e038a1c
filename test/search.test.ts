/** Search and linearize through the command line, on the model that comes with the repository. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

const root = resolve(import.meta.dirname, "..");
let folder: string;

async function vigorl(
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const done = await promisify(execFile)(join(root, "vigorl"), args, { cwd: root });
    return { code: 0, ...done };
  } catch (error) {
    const failed = error as { code: number; stdout: string; stderr: string };
    return { code: failed.code, stdout: failed.stdout, stderr: failed.stderr };
  }
}

const search = (...more: string[]) => {
  const fixed = ["recipes/nano.yaml", "--out", folder, "--name", "trees", "--json"];
  const small = ["--data.train=[{nano: search, count: 3}]", "--search.simulations=2"];
  return vigorl("search", ...fixed, ...small, ...more);
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vigorl-search-verb-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test("search grows trees, resume adds nothing, linearize writes what trainers read", async () => {
  const first = await search("--compare");
  expect(first.stderr).toBe("");
  const counts = z.looseObject({ done: z.int(), skipped: z.int(), compared: z.unknown() });
  expect(counts.parse(JSON.parse(first.stdout))).toMatchObject({
    done: 3,
    skipped: 0,
    compared: { search: { questions: 3 } },
  });
  const trees = await readFile(join(folder, "trees", "trees.jsonl"), "utf8");
  expect(trees.split("\n")).toHaveLength(4);

  expect((await search()).code).toBe(2);
  const again = counts.partial().parse(JSON.parse((await search("--resume")).stdout));
  expect(again).toMatchObject({ done: 0, skipped: 3 });
  expect(await readFile(join(folder, "trees", "trees.jsonl"), "utf8")).toBe(trees);

  const run = join(folder, "trees");
  const left = join(run, "chains.parquet.0123abcd.writing");
  await writeFile(left, "half of what a killed try wrote");
  const linear = await vigorl("linearize", run, "--json", "--format", "sharegpt,parquet,svg");
  expect(existsSync(left)).toBe(false);
  expect(linear.stderr).toBe("");
  const { files, stats } = z
    .object({ files: z.array(z.string()), stats: z.looseObject({ trees: z.int() }) })
    .parse(JSON.parse(linear.stdout));
  expect(stats.trees).toBe(3);
  expect(files.every((file) => existsSync(file))).toBe(true);
  expect(files.map((file) => file.slice(run.length + 1))).toEqual(
    expect.arrayContaining(["chains.jsonl", "chains.json", "sharegpt.json", "chains.parquet"]),
  );
});

test("mistakes are told with their fix", async () => {
  const [format, key, kind, teacher] = await Promise.all([
    vigorl("linearize", folder, "--format", "sharegtp"),
    vigorl("linearize", folder, "--tools.zoom.windowPx=9"),
    vigorl("linearize", join(folder, "nothing")),
    vigorl(
      "search",
      "recipes/nano.yaml",
      "--out",
      folder,
      "--teacher",
      "http://127.0.0.1:59999/v1",
      "--search.teacher.retries=0",
    ),
  ]);
  expect([format.code, key.code, kind.code, teacher.code]).toEqual([2, 2, 2, 2]);
  expect(format.stderr).toContain("did you mean sharegpt?");
  expect(key.stderr).toContain("only keys of the linearize section");
  expect(kind.stderr).toContain("manifest.json");
  expect(teacher.stderr).toContain("http://127.0.0.1:59999/v1/models: connection refused");
});
