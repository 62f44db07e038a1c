/**
 * How the patches of images fall into attention windows. The processor hands patches over in merge
 * order (the 4 patches of one language position together); window attention wants the positions of
 * one window together. Everything here is plain index arithmetic on merged positions ("units").
 */
import { mergeUnit, type VisionConfig } from "./config.ts";
import type { Grid } from "./rope.ts";

export interface WindowPlan {
  /** Unit that stands at each place once windows are together; over all images. */
  readonly order: Int32Array;
  /** `order` leaves everything where it is (every image fits into one window). */
  readonly identity: boolean;
  /** Patches in each window, in `order`'s order. */
  readonly windowLengths: number[];
  /** Patches in each full-attention segment: one per image frame. */
  readonly imageLengths: number[];
  /** Row and column of each patch in its image, in `order`'s order. */
  readonly rows: Int32Array;
  readonly columns: Int32Array;
}

/** Plans windows for images of the given grids, laid one after another. */
export function planWindows(grids: readonly Grid[], config: VisionConfig): WindowPlan {
  const merge = config.spatialMergeSize;
  const unit = mergeUnit(config);
  const side = Math.floor(config.windowSize / merge / config.patchSize);
  const numUnits = grids.reduce((sum, grid) => sum + (grid.t * grid.h * grid.w) / unit, 0);
  const order = new Int32Array(numUnits);
  const rows = new Int32Array(numUnits * unit);
  const columns = new Int32Array(numUnits * unit);
  const windowLengths: number[] = [];
  const imageLengths: number[] = [];
  let at = 0;
  let first = 0;
  let identity = true;
  for (const grid of grids) {
    const unitRows = grid.h / merge;
    const unitColumns = grid.w / merge;
    for (let frame = 0; frame < grid.t; frame++, first += unitRows * unitColumns) {
      imageLengths.push(grid.h * grid.w);
      for (let top = 0; top < unitRows; top += side) {
        for (let left = 0; left < unitColumns; left += side) {
          const bottom = Math.min(top + side, unitRows);
          const right = Math.min(left + side, unitColumns);
          windowLengths.push((bottom - top) * (right - left) * unit);
          for (let row = top; row < bottom; row++) {
            for (let column = left; column < right; column++, at++) {
              order[at] = first + row * unitColumns + column;
              if (order[at] !== at) identity = false;
              for (let i = 0; i < unit; i++) {
                rows[at * unit + i] = row * merge + Math.floor(i / merge);
                columns[at * unit + i] = column * merge + (i % merge);
              }
            }
          }
        }
      }
    }
  }
  return { order, identity, windowLengths, imageLengths, rows, columns };
}

/** The permutation that undoes `order`. */
export function inverseOrder(order: Int32Array): Int32Array {
  const inverse = new Int32Array(order.length);
  for (let i = 0; i < order.length; i++) inverse[order[i]] = i;
  return inverse;
}
