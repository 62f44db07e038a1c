import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { appendJsonl } from "./jsonl.ts";
import { sinkNames, type SinkName } from "./metric-sinks.ts";
import { createRunFolder, isRunFolder, openRunFolder } from "./run-folder.ts";

const description = { verb: "rl", name: "a", seed: 1, recipe: { rl: { groupSize: 8 } } };

test("a run is created once, opened again and rewound to a step", async () => {
  const path = join(await mkdtemp(join(tmpdir(), "vigorl-run-")), "a");
  expect(await isRunFolder(path)).toBe(false);
  const run = await createRunFolder(path, { ...description, versions: { libtorch: "2.13.0" } });
  for (const step of [1, 2, 3]) await run.appendMetrics({ step, reward: step / 10 });
  await appendJsonl(run.file("traces.jsonl"), [{ step: 1 }, { step: 3 }]);
  await expect(createRunFolder(path, description)).rejects.toThrow("holds a run already");
  const again = await openRunFolder(path);
  expect(again.manifest).toEqual(run.manifest);
  expect(again.manifest.versions["libtorch"]).toBe("2.13.0");
  await again.rewind(2);
  expect(await readFile(again.file("metrics.jsonl"), "utf8")).toBe(
    '{"step":1,"reward":0.1}\n{"step":2,"reward":0.2}\n',
  );
  expect(await readFile(again.file("traces.jsonl"), "utf8")).toBe('{"step":1}\n');

  await createRunFolder(path, description, { overwrite: true });
  expect(await readdir(path)).toEqual(["checkpoints", "manifest.json"]);
});

test("a run writes to the sinks it is given, and starting again removes what they made", async () => {
  const path = join(await mkdtemp(join(tmpdir(), "vigorl-run-")), "a");
  const files = async (name: SinkName) => readdir(join(path, name));
  const run = await createRunFolder(path, description);
  run.logTo(sinkNames);
  await run.appendMetrics({ step: 1, reward: 0.5 });
  for (const name of sinkNames) expect(await files(name)).toHaveLength(1);
  const again = await openRunFolder(path);
  again.logTo(["tensorboard"]);
  await again.rewind(0);
  await again.appendMetrics({ step: 1, reward: 0.5 });
  expect(await files("tensorboard")).toHaveLength(2);
  expect(await readFile(again.file("metrics.jsonl"), "utf8")).toBe('{"step":1,"reward":0.5}\n');
  await createRunFolder(path, description, { overwrite: true });
  expect(await readdir(path)).toEqual(["checkpoints", "manifest.json"]);
});

/** What lies outside the run, and must be there afterwards. */
async function victim(root: string): Promise<() => Promise<void>> {
  await mkdir(join(root, "victim"));
  await writeFile(join(root, "victim", "thesis.txt"), "three years");
  return async () =>
    expect(await readFile(join(root, "victim", "thesis.txt"), "utf8")).toBe("three years");
}

test("starting again removes what the run made, its stages too, and nothing else", async () => {
  const root = await mkdtemp(join(tmpdir(), "vigorl-run-"));
  const unharmed = await victim(root);
  const run = await createRunFolder(join(root, "a"), description);
  await createRunFolder(run.stage("sft"), { ...description, verb: "sft" });
  await appendJsonl(run.file("trees.jsonl"), [{}]);
  await mkdir(run.file("judgements"));
  await writeFile(join(run.file("judgements"), "0.json"), "{}");
  await mkdir(join(run.path, "mine"));
  await writeFile(join(run.path, "mine", "manifest.json"), '{"name": "a web page"}');
  await writeFile(join(run.path, "notes.md"), "");
  await createRunFolder(run.path, description, { overwrite: true });
  expect((await readdir(run.path)).sort()).toEqual([
    "checkpoints",
    "manifest.json",
    "mine",
    "notes.md",
  ]);
  await symlink(join(root, "victim"), join(run.path, "eval"));
  const again = createRunFolder(run.path, description, { overwrite: true });
  await expect(again).rejects.toThrow("leads out of");
  await unharmed();
});

test.each([
  ["another program's manifest", "manifest.json", '{"name": "a web page", "icons": []}'],
  ["half a manifest", "manifest.json", '{"version": 1, "verb"'],
  ["no manifest", "thesis.txt", "three years"],
])("a folder with %s is no run, whatever is asked", async (_, name, content) => {
  const path = await mkdtemp(join(tmpdir(), "vigorl-run-"));
  await writeFile(join(path, name), content);
  expect(await isRunFolder(path)).toBe(false);
  for (const overwrite of [true, false])
    await expect(createRunFolder(path, description, { overwrite })).rejects.toMatchObject({
      name: "VigorlError",
    });
  await expect(openRunFolder(path)).rejects.toMatchObject({ code: "input" });
  expect(await readFile(join(path, name), "utf8")).toBe(content);
});

test("a log that lost lines, or holds a damaged one, is not taken for what the checkpoint saw", async () => {
  const path = join(await mkdtemp(join(tmpdir(), "vigorl-run-")), "a");
  const run = await createRunFolder(path, description);
  for (const step of [1, 2, 3]) await run.appendMetrics({ step });
  await appendJsonl(run.file("traces.jsonl"), [{ step: 1 }, { step: 2 }]);
  const saved = await run.numLines();
  expect(saved).toEqual({ "metrics.jsonl": 3, "traces.jsonl": 2 });
  await run.appendMetrics({ step: 4 });
  await run.rewind(3, saved);
  expect(await run.numLines()).toEqual(saved);
  await writeFile(run.file("traces.jsonl"), '{"step":1}\n{"ste');
  await expect(run.rewind(3, saved)).rejects.toThrow(/traces\.jsonl: holds 1 lines up to step 3/);
  await writeFile(run.file("traces.jsonl"), '{"step":1}\n{"ste\n{"step":2}\n');
  await expect(run.rewind(3, saved)).rejects.toThrow(/traces\.jsonl:2: /);
  await writeFile(run.file("traces.jsonl"), '{"step":1}\n{"stop":2}\n');
  await expect(run.rewind(3, saved)).rejects.toThrow(/traces\.jsonl:2: a line without its step/);
});
