import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { appendJsonl } from "./jsonl.ts";
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
