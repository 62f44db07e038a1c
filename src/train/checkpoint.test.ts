import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createRunFolder } from "../core/run-folder.ts";
import type { Learner, Saved } from "../engine/types.ts";
import {
  checkpointSteps,
  loadCheckpoint,
  newestCheckpoint,
  removeOlder,
  saveCheckpoint,
  verifyCheckpoint,
} from "./checkpoint.ts";
import { runSteps } from "./loop.ts";

/** Weights that are one text file. */
class TextWeights {
  text = "start";
  async save(folder: string): Promise<Saved> {
    await writeFile(join(folder, "model.safetensors"), this.text);
    await writeFile(join(folder, "config.json"), "{}");
    return { in: "folder" };
  }
  async load(folder: string): Promise<void> {
    this.text = await readFile(join(folder, "model.safetensors"), "utf8");
  }
}

async function saved(): Promise<{ path: string; weights: TextWeights; folder: string }> {
  const path = await mkdtemp(join(tmpdir(), "vigorl-checkpoint-"));
  const weights = new TextWeights();
  weights.text = "weights of step 4";
  const folder = await saveCheckpoint(path, weights, { verb: "rl", step: 4, updates: 8 }, 2);
  return { path, weights, folder };
}

test("a checkpoint is written, found, and loaded again", async () => {
  const { path, folder } = await saved();
  const weights = new TextWeights();
  expect(await newestCheckpoint(path)).toBe(folder);
  const state = await loadCheckpoint(folder, weights);
  expect(weights.text).toBe("weights of step 4");
  expect(state).toMatchObject({ verb: "rl", step: 4, updates: 8 });
  expect(state.files.map((file) => file.name)).toEqual(["config.json", "model.safetensors"]);
});

test("of weights that an engine keeps, a checkpoint holds the handle", async () => {
  const path = await mkdtemp(join(tmpdir(), "vigorl-checkpoint-"));
  const kept = new Set<string>();
  let loaded = "";
  const learner = {
    save: (): Promise<Saved> => {
      const handle = `far://${kept.size}`;
      kept.add(handle);
      return Promise.resolve({ in: "engine", handle });
    },
    load: (from: string) => Promise.resolve(void (loaded = from)),
    discard: (handle: string) => Promise.resolve(void kept.delete(handle)),
  };
  for (const step of [1, 2, 3])
    expect(await saveCheckpoint(path, learner, { verb: "rl", step, updates: step }, 9)).toBe(
      `far://${step - 1}`,
    );
  const newest = (await newestCheckpoint(path))!;
  expect(await loadCheckpoint(newest, learner)).toMatchObject({ handle: "far://2", files: [] });
  expect(loaded).toBe("far://2");
  await removeOlder(path, 1, learner);
  expect([...kept]).toEqual(["far://2"]);
  expect(await checkpointSteps(path)).toEqual([3]);
});

test("the newest stay, by number and not by name", async () => {
  const { path, weights } = await saved();
  for (const step of [9, 10])
    await saveCheckpoint(path, weights, { verb: "rl", step, updates: step }, 2);
  expect(await checkpointSteps(path)).toEqual([9, 10]);
  expect((await readdir(path)).sort()).toEqual(["step-10", "step-9"]);
  expect(await checkpointSteps(join(path, "none"))).toEqual([]);
});

test("a run killed before it removed older checkpoints removes them when it is resumed", async () => {
  const path = join(await mkdtemp(join(tmpdir(), "vigorl-checkpoint-")), "run");
  const run = await createRunFolder(path, { verb: "rl", name: "run", seed: 1, recipe: {} });
  const learner = new TextWeights() as unknown as Learner;
  for (const step of [1, 2, 3])
    await saveCheckpoint(run.checkpointsPath, learner, { verb: "rl", step, updates: step }, 9);
  const every = { checkpointEvery: 1, keepCheckpoints: 2, totalSteps: 3 };
  const options = { verb: "rl", learner, run, resume: true, ...every } as const;
  const done = await runSteps(options, () => Promise.reject(new Error("nothing is left to do")));
  expect(done).toMatchObject({ step: 3, updates: 3 });
  expect(await checkpointSteps(run.checkpointsPath)).toEqual([2, 3]);
});

test("a damaged checkpoint is refused with the name of the file", async () => {
  const { folder } = await saved();
  const file = join(folder, "model.safetensors");
  await writeFile(file, "weights of step 5");
  await expect(verifyCheckpoint(folder)).rejects.toThrow("model.safetensors was changed");
  await truncate(file, 3);
  await expect(loadCheckpoint(folder, new TextWeights())).rejects.toMatchObject({
    code: "input",
    message: `${folder}: damaged checkpoint: model.safetensors has 3 bytes, not 17`,
    hint: expect.stringContaining("--resume") as string,
  });
  await rm(file);
  await expect(verifyCheckpoint(folder)).rejects.toThrow("model.safetensors is missing");
  await writeFile(join(folder, "state.json"), '{"version":1');
  await expect(verifyCheckpoint(folder)).rejects.toThrow("damaged checkpoint: state.json");
});
