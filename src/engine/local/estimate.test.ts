/** Estimates of published sizes. */
import { expect, it } from "vitest";
import { fits, memoryText } from "../../engine-memory.ts";
import { parseModelConfig } from "../../model/families/table.ts";
import type { Learning } from "../kind.ts";
import { activationBytes, estimate, numTrained, type LearningPlan } from "./estimate.ts";
import type { LocalSizes } from "./sizes.ts";

/** Qwen2.5-VL-3B as it is published. */
const config = parseModelConfig(
  {
    model_type: "qwen2_5_vl",
    hidden_size: 2048,
    intermediate_size: 11008,
    num_attention_heads: 16,
    num_hidden_layers: 36,
    num_key_value_heads: 2,
    hidden_act: "silu",
    max_position_embeddings: 128000,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] },
    tie_word_embeddings: true,
    vocab_size: 151936,
    torch_dtype: "bfloat16",
    image_token_id: 151655,
    video_token_id: 151656,
    vision_start_token_id: 151652,
    vision_end_token_id: 151653,
    vision_config: {
      depth: 32,
      hidden_size: 1280,
      intermediate_size: 3420,
      num_heads: 16,
      out_hidden_size: 2048,
    },
  },
  "config.json",
);
const sizes: LocalSizes = {
  device: "cuda:0",
  dtype: "bfloat16",
  maxPositions: 4096,
  numSlots: 8,
  spareSlots: 0,
  samplers: 1,
  samplingThreads: 1,
  threads: 1,
  learns: true,
  tokensPerMicroBatch: 4096,
  featureBytes: 5e8,
  weightsBytes: 2 * 3_754_622_976,
  cacheBytes: 1e9,
  cacheStartBytes: 3e8,
  cacheFullBytes: 5e8,
  cachePeakBytes: 1e9,
  maxCells: undefined,
};
const language: Learning = { trainable: "language", reference: true };
const lora = { rank: 16, alpha: 32, targets: "all-linear", rslora: false, dropout: 0 } as const;
const plan = (change: Partial<LearningPlan>): LearningPlan => ({
  ...language,
  recompute: false,
  logitsBytes: 2 ** 31,
  ...change,
});
const bytesOf = (what: string, change: Partial<LearningPlan>): number =>
  estimate(config, sizes, plan(change)).find((share) => share.what.includes(what))?.bytes ?? 0;

it("counts what is trained: the language model, everything, or an adapter of seven layers in each", () => {
  expect(numTrained(config, language)).toBe(3_085_938_688);
  expect(numTrained(config, { ...language, trainable: "all" })).toBe(3_754_622_976);
  expect(numTrained(config, { ...language, lora })).toBe(29_933_568);
});

it("keeps 3.3 MB a position in bfloat16, and 0.15 MB where layers run again", () => {
  expect(activationBytes(config.text, "bfloat16", false) / 1e6).toBeCloseTo(3.32, 1);
  expect(activationBytes(config.text, "bfloat16", true)).toBe(2 * 36 * 2048);
  expect(bytesOf("layers", { recompute: true })).toBeLessThan(0.11 * bytesOf("layers", {}));
});

it("counts what delta nets keep, within a twentieth of what was measured", () => {
  const delta = { numKeyHeads: 2, numValueHeads: 4, keyDim: 64, valueDim: 64, kernel: 4 };
  const layers = (count: number) => ({ ...delta, layers: Array<boolean>(count).fill(true) });
  const text = { ...config.text, hiddenSize: 256, intermediateSize: 512 };
  const of = (numLayers: number, recompute = false): number =>
    activationBytes({ ...text, numLayers, delta: layers(numLayers) }, "float32", recompute);
  // 10,355 numbers a layer and position in float32, from runs of two and of eight layers on a CPU.
  expect(Math.abs(of(1) / (4 * 10_355) - 1)).toBeLessThan(0.05);
  expect(of(3)).toBe(3 * of(1));
  expect(of(3, true)).toBe(4 * 3 * 256);
});

it("knows what each key saves", () => {
  const count = 3_085_938_688;
  expect(bytesOf("moments", {})).toBe(12 * count);
  expect(bytesOf("moments", { moments: "int8", masters: "kahan" })).toBe(4.03125 * count);
  expect(bytesOf("moments", { stateOn: "cpu" })).toBe(0);
  expect(bytesOf("reference", {})).toBe(sizes.weightsBytes);
  expect(bytesOf("reference", { lora })).toBe(0);
  expect(bytesOf("gradients", { lora })).toBe(4 * 29_933_568);
});

it("names the keys where it does not fit, the largest share first", () => {
  const shares = estimate(config, sizes, plan({}));
  const memory = { shares, device: "cuda:0", freeBytes: 24 * 2 ** 30 };
  expect(fits(memory)).toBe(false);
  const text = memoryText(memory);
  expect(text).toMatch(/does not fit[^]*moments: int8[^]*engine\.gradientCheckpointing/);
  const small = estimate(config, sizes, plan({ lora, recompute: true }));
  expect(fits({ ...memory, shares: small })).toBe(true);
});
