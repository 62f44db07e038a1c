import { mkdtemp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeError, VigorlError } from "./errors.ts";
import { ioError, removeUnfinished, replaceFolderAtomic, writeFileAtomic } from "./files.ts";

const temporary = () => mkdtemp(join(tmpdir(), "vigorl-files-"));

test("a file is replaced in one step and nothing stays beside it", async () => {
  const folder = await temporary();
  const file = join(folder, "a", "b.txt");
  await writeFileAtomic(file, "one");
  await writeFileAtomic(file, "two");
  expect(await readFile(file, "utf8")).toBe("two");
  expect(await readdir(join(folder, "a"))).toEqual(["b.txt"]);
});

test("a folder whose filling fails leaves the old one", async () => {
  const folder = join(await temporary(), "model");
  await replaceFolderAtomic(folder, (beside) => writeFile(join(beside, "w"), "old"));
  const failing = replaceFolderAtomic(folder, async (beside) => {
    await writeFile(join(beside, "w"), "half");
    throw new Error("stopped");
  });
  await expect(failing).rejects.toThrow("stopped");
  expect(await readFile(join(folder, "w"), "utf8")).toBe("old");
  await replaceFolderAtomic(folder, (beside) => writeFile(join(beside, "x"), "new"));
  expect(await readdir(folder)).toEqual(["x"]);
  expect(await readdir(join(folder, ".."))).toEqual(["model"]);
});

test("what is written into a folder beside its place is written once, in it", async () => {
  const folder = join(await temporary(), "step-4");
  await replaceFolderAtomic(folder, async (beside) => {
    await replaceFolderAtomic(beside, async (same) => {
      expect(same).toBe(beside);
      await writeFileAtomic(join(same, "state.json"), "{}");
    });
    await replaceFolderAtomic(join(beside, "model"), async (model) => {
      expect(model).toBe(join(beside, "model"));
      await writeFileAtomic(join(model, "w"), "1");
    });
    expect((await readdir(beside)).sort()).toEqual(["model", "state.json"]);
  });
  expect(await readFile(join(folder, "model", "w"), "utf8")).toBe("1");
  expect(await readdir(join(folder, ".."))).toEqual(["step-4"]);
});

test("leftovers of a killed writer are removed, other files stay", async () => {
  const folder = await temporary();
  await mkdir(join(folder, "step-4.0123abcd.writing"));
  await writeFile(join(folder, "keep.writing"), "");
  await removeUnfinished(folder);
  expect(await readdir(folder)).toEqual(["keep.writing"]);
});

test("a full disk is named with its path and fix", async () => {
  const failed = await writeFile("/dev/full", "x").catch((error: unknown) => error);
  const error = ioError(failed, "runs/a/metrics.jsonl");
  expect(error).toBeInstanceOf(VigorlError);
  expect((error as VigorlError).code).toBe("io");
  expect(describeError(error)).toMatch(
    /runs\/a\/metrics\.jsonl: the disk is full \(ENOSPC\)\n {2}fix: /,
  );
});

test("a path through a file is an io error", async () => {
  const folder = await temporary();
  await writeFile(join(folder, "f"), "");
  await expect(writeFileAtomic(join(folder, "f", "g"), "x")).rejects.toMatchObject({ code: "io" });
});
