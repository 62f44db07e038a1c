/** How far bfloat16 takes us from float32, beside how far it takes transformers. */
import { execFileSync, spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { noGrad, scope } from "../torch/scope.ts";
import { planBatch } from "./batch.ts";
import {
  array,
  goldenFolder,
  goldenPatches,
  readGolden,
  relativeDifference,
} from "./fixtures/golden.ts";
import { loadModelFolder } from "./folder.ts";

const names = ["windows", "qwen2vl", "qwen3vl", "qwen35", "qwen35ends"] as const;
const script = new URL("../../scripts/fixtures/model_half.py", import.meta.url).pathname;
const python = process.env.VIGORL_PYTHON ?? join(homedir(), ".cache/vigorl/peers/bin/python");
const hasOracle = spawnSync(python, ["-c", "import transformers"]).status === 0;

/** Distances of a golden folder's sequences. */
async function ours(name: string): Promise<number[]> {
  const golden = readGolden(name);
  const model = await loadModelFolder(golden.folder, { dtype: "bfloat16" });
  const distances = golden.sequences.map((sequence, s) => {
    const logits = noGrad(() =>
      scope(() => {
        const batch = planBatch([sequence], model.config);
        const features =
          batch.images.length === 0
            ? undefined
            : model.encodeImages(batch.images, goldenPatches(golden));
        return model.logits(model.hidden(batch, { features })).to("float32").toNumbers();
      }),
    );
    return relativeDifference(logits, array(golden, `logits.${s}`));
  });
  model.dispose();
  return distances;
}

it.skipIf(!hasOracle)(
  "is no further than transformers' own (VIGORL_PYTHON)",
  { timeout: 600_000 },
  async () => {
    const text = execFileSync(python, [script, ...names.map(goldenFolder)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const theirs = z.array(z.array(z.number())).parse(JSON.parse(text));
    const mean = (values: readonly number[]): number =>
      values.reduce((sum, value) => sum + value, 0) / values.length;
    for (const [i, name] of names.entries()) {
      const [here, there] = [mean(await ours(name)), mean(theirs[i])];
      // Five short sequences: a twentieth is chance.
      expect({ name, here, there, isNear: here <= 1.05 * there }).toMatchObject({ isNear: true });
    }
  },
);
