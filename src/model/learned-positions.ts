/**
 * Learned positions of a tower, read at any grid: the table covers every image corner to corner, and
 * what lies between its rows is interpolated from the four around it.
 * Legend: P patches in all, C width, S side of the table.
 */
import type { Tensor } from "../torch/ops.ts";
import { tensor } from "../torch/tensor.ts";
import type { VisionConfig } from "./config.ts";
import type { Grid } from "./rope.ts";

/** The positions of all patches in the processor's merge order, [P, C], in float32. */
export function learnedPositions(
  table: Tensor,
  grids: readonly Grid[],
  { positionsSide, spatialMergeSize }: VisionConfig,
): Tensor {
  const { device } = table;
  const { rows, weights } = corners(grids, positionsSide, spatialMergeSize);
  let sum: Tensor | undefined;
  for (let corner = 0; corner < 4; corner++) {
    const index = tensor(rows[corner], { dtype: "int64", device });
    const weight = tensor(weights[corner], { shape: [rows[corner].length, 1], device });
    const part = table.indexSelect(0, index).mul(weight);
    sum = sum === undefined ? part : sum.add(part);
  }
  if (sum === undefined) throw new Error("no corners");
  return sum;
}

/** Rows of the table around each patch and how much each counts, by corner. */
export function corners(
  grids: readonly Grid[],
  side: number,
  merge: number,
): { readonly rows: Int32Array[]; readonly weights: Float32Array[] } {
  const total = grids.reduce((sum, { t, h, w }) => sum + t * h * w, 0);
  const rows = Array.from({ length: 4 }, () => new Int32Array(total));
  const weights = Array.from({ length: 4 }, () => new Float32Array(total));
  let at = 0;
  const note = (row: Place, column: Place): void => {
    for (let corner = 0; corner < 4; corner++) {
      const [y, x] = [corner >> 1, corner & 1];
      rows[corner][at] = row.rows[y] * side + column.rows[x];
      weights[corner][at] = row.weights[y] * column.weights[x];
    }
    at++;
  };
  for (const { t, h, w } of grids) {
    const down = Array.from({ length: h }, (_, i) => place(i, h, side));
    const across = Array.from({ length: w }, (_, i) => place(i, w, side));
    for (let frame = 0; frame < t; frame++)
      for (let top = 0; top < h; top += merge)
        for (let left = 0; left < w; left += merge)
          for (let y = top; y < top + merge; y++)
            for (let x = left; x < left + merge; x++) note(down[y], across[x]);
  }
  return { rows, weights };
}

/** The two rows of a table around one place of an axis, and how much each counts. */
interface Place {
  readonly rows: readonly [number, number];
  readonly weights: readonly [number, number];
}

/** Where the `i`-th of `count` patches lies on a table of `side` rows, ends on ends. */
function place(i: number, count: number, side: number): Place {
  const exact = count === 1 ? 0 : (i * (side - 1)) / (count - 1);
  const low = Math.min(Math.floor(exact), side - 1);
  const rest = exact - low;
  return { rows: [low, Math.min(low + 1, side - 1)], weights: [1 - rest, rest] };
}
