/**
 * How a learning batch is cut and laid out: neighbours in length share a micro-batch, whose padded
 * size stays under a bound, and only the positions that are asked for become rows of logits.
 */
import { planBatch, flatRow, type Batch } from "../../model/batch.ts";
import type { ModelConfig } from "../../model/config.ts";
import { VigorlError } from "../../core/errors.ts";
import type { ModelImage } from "../../image/model-image.ts";
import { type Datum } from "../types.ts";
import { flatten } from "./sequence.ts";

/** One micro-batch. Arrays over N: the tokens that are scored. */
export interface Layout {
  readonly batch: Batch<ModelImage>;
  /** Flat row that predicts each scored token. */
  readonly rows: Int32Array;
  readonly targets: Int32Array;
  /** Index of the datum (in the caller's order) and position of each scored token. */
  readonly datumOf: Int32Array;
  readonly positionOf: Int32Array;
  /** 1 / temperature of each row; absent where all are 1. */
  readonly rates: Float32Array | undefined;
}

/**
 * Groups indices of `lengths` so that number × longest stays within `bound` (one item may exceed it
 * alone). Shorter ones first; items of one length keep their order.
 */
export function microBatches(lengths: readonly number[], bound: number): number[][] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[a] - lengths[b] || a - b);
  const groups: number[][] = [];
  let group: number[] = [];
  for (const i of order) {
    if (group.length > 0 && (group.length + 1) * lengths[i] > bound) {
      groups.push(group);
      group = [];
    }
    group.push(i);
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

/**
 * Lays out the data at `members`. Scored are the tokens of weight ≠ 0, or with `all` every text token
 * that something predicts.
 * @throws VigorlError "numerics" for a weight on an image position
 */
export function layOut(
  data: readonly Datum[],
  members: readonly number[],
  config: ModelConfig,
  which: "weighted" | "all",
): Layout {
  const batch = planBatch(
    members.map((i) => data[i].chunks),
    config,
  );
  const rows: number[] = [];
  const targets: number[] = [];
  const datumOf: number[] = [];
  const positionOf: number[] = [];
  for (const [s, index] of members.entries()) {
    const { chunks, weights } = data[index];
    for (const [t, entry] of flatten(chunks).entries()) {
      if (typeof entry === "string") {
        if (weights[t] === 0) continue;
        throw new VigorlError(
          "numerics",
          `datum ${index}: position ${t} is an image, not a token`,
          {
            hint: "weights must be 0 on images",
          },
        );
      }
      if (t === 0 || (which === "weighted" && weights[t] === 0)) continue;
      rows.push(flatRow(batch, s, t - 1));
      targets.push(entry);
      datumOf.push(index);
      positionOf.push(t);
    }
  }
  const isPlain = members.every((index) => (data[index].temperature ?? 1) === 1);
  return {
    batch,
    rates: isPlain
      ? undefined
      : Float32Array.from(datumOf, (index) => 1 / (data[index].temperature ?? 1)),
    rows: Int32Array.from(rows),
    targets: Int32Array.from(targets),
    datumOf: Int32Array.from(datumOf),
    positionOf: Int32Array.from(positionOf),
  };
}
