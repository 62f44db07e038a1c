/**
 * The optimiser's knobs, shared by `sft` and `rl`: AdamW, and a learning rate that warms up and
 * then stays or falls along half a cosine to zero.
 */
import { z } from "zod";
import type { OptimParams } from "../engine/types.ts";
import { learningRateAt } from "../torch/schedule.ts";

export interface OptimiserConfig {
  readonly learningRate: number;
  readonly warmupRatio: number;
  readonly schedule: "constant" | "cosine";
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly clipNorm: number;
}

/** Schema fields of AdamW and its schedule with a verb's own defaults. */
export function optimiserFields(
  defaults: Pick<OptimiserConfig, "learningRate" | "warmupRatio" | "schedule" | "clipNorm">,
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
      .describe("share of the optimiser steps over which the rate rises from 0"),
    schedule: z
      .enum(["constant", "cosine"])
      .default(defaults.schedule)
      .describe("the rate after warm-up"),
    weightDecay: z.number().min(0).default(0.01).describe("decoupled weight decay"),
    beta1: z.number().min(0).lt(1).default(0.9).describe("decay of the first moment"),
    beta2: z.number().min(0).lt(1).default(0.99).describe("decay of the second moment"),
    eps: z.number().gt(0).default(1e-8).describe("added to the root of the second moment"),
    clipNorm: z
      .number()
      .min(0)
      .default(defaults.clipNorm)
      .describe("bound on the global gradient norm; 0 switches clipping off"),
  };
}

/** Parameters of optimiser step `index` (from 0) of `total`. */
export function optimParams(config: OptimiserConfig, index: number, total: number): OptimParams {
  const { learningRate: peak, schedule: kind, warmupRatio } = config;
  const { beta1, beta2, eps, weightDecay, clipNorm } = config;
  const learningRate = learningRateAt(index, { kind, peak, warmupRatio, totalSteps: total });
  return { learningRate, beta1, beta2, eps, weightDecay, clipNorm };
}
