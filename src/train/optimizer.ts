/**
 * The optimizer's knobs, shared by `sft` and `rl`: AdamW, and a learning rate that warms up and
 * then stays or falls along half a cosine to zero.
 */
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import type { OptimParams } from "../engine/types.ts";
import { learningRateAt } from "../torch/schedule.ts";

export interface OptimizerConfig {
  readonly learningRate: number;
  readonly warmupRatio: number;
  readonly warmup: "perUpdate" | "perStep";
  readonly decayNorms: boolean;
  readonly schedule: "constant" | "cosine";
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly clipNorm: number;
  readonly moments: "float32" | "bfloat16" | "int8";
  readonly masters: "float32" | "kahan" | "none";
  readonly stateOn: "device" | "cpu";
}

/** Schema fields of AdamW and its schedule with a verb's own defaults. */
export function optimizerFields(
  defaults: Pick<OptimizerConfig, "learningRate" | "warmupRatio" | "schedule" | "clipNorm">,
) {
  return {
    learningRate: z
      .number()
      .gt(0)
      .default(defaults.learningRate)
      .describe("peak learning rate of AdamW"),
    warmupRatio: z
      .number()
      .min(0)
      .max(1)
      .default(defaults.warmupRatio)
      .describe("share of the run over which the rate rises"),
    warmup: z
      .enum(["perUpdate", "perStep"])
      .default("perUpdate")
      .describe(
        "the rate follows the optimizer steps and is never 0, or the steps of the run from 0 on, as in the published code",
      ),
    schedule: z
      .enum(["constant", "cosine"])
      .default(defaults.schedule)
      .describe("the rate after warm-up"),
    weightDecay: z.number().min(0).default(0.01).describe("decoupled weight decay"),
    decayNorms: z.boolean().default(false).describe("decay gains of norms and biases too"),
    beta1: z.number().min(0).lt(1).default(0.9).describe("decay of the first moment"),
    beta2: z.number().min(0).lt(1).default(0.99).describe("decay of the second moment"),
    eps: z.number().gt(0).default(1e-8).describe("added to the root of the second moment"),
    clipNorm: z
      .number()
      .min(0)
      .default(defaults.clipNorm)
      .describe("bound on the global gradient norm; 0 switches clipping off"),
    moments: z
      .enum(["float32", "bfloat16", "int8"])
      .default("float32")
      .describe("what both moments are kept in: 8, 4 or 2 bytes for each trained number"),
    masters: z
      .enum(["float32", "kahan", "none"])
      .default("float32")
      .describe(
        "beside trained weights in half precision: a copy in float32 (4 bytes each), what rounding took (2 bytes), or nothing, which loses small steps",
      ),
    stateOn: z
      .enum(["device", "cpu"])
      .default("device")
      .describe(
        "where moments and masters lie: cpu takes them off a GPU, and brings them to it in pieces for each step",
      ),
  };
}

/** Parameters of step `index` (from 0) of `total`: of optimizer steps, or those that `warmup` names. */
export function optimParams(config: OptimizerConfig, index: number, total: number): OptimParams {
  const { learningRate: peak, schedule: kind, warmupRatio } = config;
  const { beta1, beta2, eps, weightDecay, decayNorms: decayAll, clipNorm } = config;
  const { moments, masters, stateOn } = config;
  const fromZero = config.warmup === "perStep";
  const learningRate = learningRateAt(index, {
    kind,
    peak,
    warmupRatio,
    totalSteps: total,
    fromZero,
  });
  const form = { moments, masters, stateOn };
  return { learningRate, beta1, beta2, eps, weightDecay, decayAll, clipNorm, ...form };
}

/** Throws VigorlError("usage") where a run is so short that its rate never leaves 0. */
export function requireSomeRate(section: string, config: OptimizerConfig, total: number): void {
  if (optimParams(config, total - 1, total).learningRate > 0) return;
  throw new VigorlError(
    "usage",
    `${section}: all of its steps (${total}) would be taken at rate 0`,
    {
      hint: `train for more steps, or set ${section}.warmup to perUpdate`,
    },
  );
}
