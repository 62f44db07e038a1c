/** Estimates against the peaks that benchmarks measured, as docs/results has them. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { fullWork, parameterCounts } from "../bench/gpu/sizes.ts";
import { estimate, type LearningPlan } from "../src/engine/local/estimate.ts";
import { sizesIn } from "../src/engine/local/sizes.ts";
import { parseModelConfig } from "../src/model/families/table.ts";

const results = resolve(import.meta.dirname, "../docs/results");
const gpuSchema = z.object({
  rows: z.array(
    z.object({
      name: z.string(),
      ours: z.object({ peakGigabytes: z.number().optional() }).optional(),
    }),
  ),
});

const config = parseModelConfig(fullWork.model, "bench");
const lora = { rank: 16, alpha: 32, targets: "all-linear", rslora: false, dropout: 0 } as const;
const { zoom, picturePx, cropPx, tokensPerMicroBatch } = fullWork;
const tokensOf = (px: number): number => (px / 28) ** 2;
const episodeLength =
  tokensOf(picturePx) +
  zoom.promptTokens +
  (zoom.crops + 1) * zoom.tokensPerTurn +
  zoom.crops * (tokensOf(cropPx) + 4);
const zoomPictures =
  zoom.prompts * (tokensOf(picturePx) + zoom.groupSize * zoom.crops * tokensOf(cropPx));

/** What the benchmark opens on a large card, its bounds as the run filled them. */
function gigabytes(
  change: Partial<LearningPlan>,
  { pictures, perMicroBatch }: { readonly pictures: number; readonly perMicroBatch: number },
): number {
  const sizes = sizesIn(
    {
      config,
      numParameters: parameterCounts(config).all,
      folder: "bench",
      device: "cuda:0",
      freeBytes: 139e9,
      threads: 16,
      hasRows: () => true,
      cacheDtype: () => "bfloat16",
      heldBytes: () => 0,
    },
    {
      dtype: "bfloat16",
      numSlots: 256,
      maxPositions: fullWork.maxPositions,
      tokensPerMicroBatch: perMicroBatch,
      featureBytes: 2 * config.text.hiddenSize * pictures,
      cacheBytes: 32 * 2 ** 30,
    },
  );
  const plan = { trainable: "language", reference: false, recompute: false } as const;
  const own = { ...plan, samples: false, logitsBytes: 2 ** 31, ...change };
  return estimate(config, sizes, own).reduce((sum, { bytes }) => sum + bytes, 0) / 1e9;
}

const full = { pictures: tokensOf(picturePx), perMicroBatch: tokensPerMicroBatch };
const wholeEpisodes = Math.floor(tokensPerMicroBatch / episodeLength) * episodeLength;
test.each([
  ["sft-full", {}, full],
  ["grpo-full", {}, full],
  ["grpo-zoom", { samples: true }, { pictures: zoomPictures, perMicroBatch: wholeEpisodes }],
  ["sft-lora", { lora }, full],
  ["grpo-lora", { lora }, full],
] as const)("a card's peak in %s is within a twentieth of the estimate", (name, plan, filled) => {
  const { rows } = gpuSchema.parse(JSON.parse(readFileSync(join(results, "gpu.json"), "utf8")));
  const peak = rows.find((row) => row.name === name)!.ours!.peakGigabytes!;
  const ratio = peak / gigabytes(plan, filled);
  expect(ratio).toBeGreaterThan(0.95);
  expect(ratio).toBeLessThan(1.05);
});

const memorySchema = z.object({
  rows: z.array(
    z.object({
      size: z.string(),
      way: z.string(),
      estimateBytes: z.number(),
      peakBytes: z.number(),
    }),
  ),
});

test("peaks on a CPU are within a tenth of the estimate, at two sizes", () => {
  const { rows } = memorySchema.parse(
    JSON.parse(readFileSync(join(results, "memory.json"), "utf8")),
  );
  const far = rows.filter(
    ({ estimateBytes, peakBytes }) => Math.abs(peakBytes / estimateBytes - 1) > 0.1,
  );
  expect(far).toEqual([]);
  for (const size of ["small", "medium"])
    expect(rows.filter((row) => row.size === size).map(({ way }) => way)).toEqual(
      expect.arrayContaining(["sampling", "sft", "sft-lora"]),
    );
});
