/**
 * The sinks that a recipe may choose besides metrics.jsonl, which every run has; a line a sink. Each
 * writes into the folder of its name in the run.
 */
import type { MetricSink } from "./sinks/sink.ts";
import { tensorboardSink } from "./sinks/tensorboard.ts";

export const metricSinks = {
  tensorboard: tensorboardSink,
} as const satisfies Record<string, (folder: string) => MetricSink>;

/** Sinks that people ask for and that are not written here, and what to do. */
export const insteadOfSinks = {
  wandb:
    "no kept library for Node writes W&B's offline format; log to tensorboard, or send metrics.jsonl with five lines of Python (docs/rl.md)",
};

export type SinkName = keyof typeof metricSinks;
export const sinkNames = Object.keys(metricSinks) as [SinkName, ...SinkName[]];
