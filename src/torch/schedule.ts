/** Learning rates over steps: linear warm-up, then constant, linear or cosine decay. */
import { VigorlError } from "../core/errors.ts";

export interface Schedule {
  kind: "constant" | "linear" | "cosine";
  /** The rate after warm-up. */
  peak: number;
  /** Steps in all; the decay ends there. */
  totalSteps: number;
  /** Steps of warm-up, or their share of all steps (rounded up, as in transformers). */
  warmupSteps?: number;
  warmupRatio?: number;
  /** Where the decay ends, as a share of the peak. Default 0. */
  finalRatio?: number;
  /** Start at rate 0, as transformers and verl do. Default false. */
  fromZero?: boolean;
}

/**
 * The rate of step `step`, counted from 0. During warm-up it is peak · (step + 1) / (warmup + 1), so
 * that no step is taken at rate 0; with `fromZero` peak · step / warmup. verl's constant schedule then
 * has a first step at rate 0 even without warm-up.
 */
export function learningRateAt(step: number, schedule: Schedule): number {
  const { kind, peak, totalSteps, finalRatio = 0 } = schedule;
  const warmup = warmupOf(schedule);
  if (schedule.fromZero === true) {
    const rise = kind === "constant" ? Math.max(1, warmup) : warmup;
    if (step < rise) return (peak * step) / rise;
  } else if (step < warmup) return (peak * (step + 1)) / (warmup + 1);
  if (kind === "constant") return peak;
  const progress = Math.min(1, (step - warmup) / Math.max(1, totalSteps - warmup));
  const left = kind === "linear" ? 1 - progress : 0.5 * (1 + Math.cos(Math.PI * progress));
  return peak * (finalRatio + (1 - finalRatio) * left);
}

function warmupOf({ warmupSteps, warmupRatio, totalSteps }: Schedule): number {
  if (warmupSteps !== undefined && warmupRatio !== undefined) {
    throw new VigorlError("usage", "a schedule takes warmupSteps or warmupRatio, not both");
  }
  return warmupSteps ?? Math.ceil((warmupRatio ?? 0) * totalSteps);
}
