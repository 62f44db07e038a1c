/** How reports write numbers. */
import type { Interval } from "../core/statistics.ts";

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

export function interval([low, high]: Interval): string {
  return `${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)}`;
}

/** A difference of accuracies in points, with its sign. */
export function signed(share: number): string {
  return `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)}`;
}

export function formatP(p: number): string {
  return p < 0.0001 ? "< 0.0001" : p.toPrecision(2);
}
