import { cp, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createRunFolder } from "./core/run-folder.ts";
import { modelOf, recordWeights } from "./run-weights.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "vigorl-weights-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function run(name: string) {
  return createRunFolder(join(root, name), { verb: "demo", name, seed: 1, recipe: {} });
}

async function model(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), "{}\n");
  return folder;
}

test("a run names its weights, and goes on naming them where it is moved or copied", async () => {
  const made = await run("first");
  await model(join(made.path, "rl-other", "checkpoints", "step-9"));
  await recordWeights(made, await model(join(made.path, "sft", "checkpoints", "step-3")));
  expect(await modelOf(made.path)).toBe(join(root, "first/sft/checkpoints/step-3"));
  await recordWeights(made, await model(join(made.path, "any-name", "checkpoints", "step-7")));
  const moved = join(root, "elsewhere");
  await rename(made.path, moved);
  expect(await modelOf(moved)).toBe(join(moved, "any-name/checkpoints/step-7"));
  await cp(moved, join(root, "copy"), { recursive: true });
  expect(await modelOf(join(root, "copy"))).toBe(join(root, "copy/any-name/checkpoints/step-7"));
});

test("a run that records none has its newest checkpoint; others are what they are", async () => {
  const made = await run("plain");
  await expect(modelOf(made.path)).rejects.toThrow(/has no weights yet/);
  await model(join(made.path, "checkpoints", "step-2"));
  await model(join(made.path, "checkpoints", "step-10"));
  expect(await modelOf(made.path)).toBe(join(made.path, "checkpoints/step-10"));
  const folder = await model(join(root, "model"));
  expect(await modelOf(folder)).toBe(folder);
});

test("recorded weights lie in the run, and a damaged record is named", async () => {
  const made = await run("hostile");
  await writeFile(made.file("weights.json"), '{"version":1,"folder":"../model"}\n');
  await expect(modelOf(made.path)).rejects.toThrow(/must not begin with a dot/);
  await writeFile(made.file("weights.json"), "{torn");
  await expect(modelOf(made.path)).rejects.toThrow(/weights\.json/);
});
