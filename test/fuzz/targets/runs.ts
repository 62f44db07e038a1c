/** Files of a run as somebody passes them on: the manifest, and lines of its logs. */
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { openRunFolder } from "../../../src/core/run-folder.ts";
import { mutateBytes, mutateValue } from "../mutate.ts";
import type { Target } from "../target.ts";

const manifest = {
  version: 1,
  verb: "rl",
  name: "a",
  createdAt: "2026-01-01",
  seed: 1,
  recipe: { rl: { steps: 3 } },
  versions: { node: "v20" },
  gitCommit: null,
  dataHashes: { "a.jsonl": "b" },
};
const rows = [1, 2, 3].map((step) => ({ step, loss: 0.5, note: "é" }));

/** The manifest is the first line of the input, the log is the rest. */
export const run: Target = {
  name: "run",
  extension: ".txt",
  input: (random) => {
    const first = random.chance(0.5) ? mutateValue(manifest, random) : manifest;
    const lines = random.chance(0.5) ? rows.map((row) => mutateValue(row, random)) : rows;
    const text = [first, ...lines].map((value) => JSON.stringify(value)).join("\n");
    return random.chance(0.5) ? mutateBytes(Buffer.from(text), random) : Buffer.from(text);
  },
  run: async (file, input) => {
    const folder = dirname(file);
    const end = Buffer.from(input).indexOf(10);
    writeFileSync(join(folder, "manifest.json"), input.subarray(0, end < 0 ? undefined : end));
    writeFileSync(join(folder, "metrics.jsonl"), input.subarray(end + 1));
    const opened = await openRunFolder(folder);
    await opened.rewind(2, { "metrics.jsonl": 1 });
    await opened.numLines();
  },
};
