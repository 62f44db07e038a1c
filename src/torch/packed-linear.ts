/**
 * Products of rows with weights that were packed beforehand: what a general product does anew each
 * time, and for few rows pays dearly. Norm before, bias, gates and residual after are part of the same
 * pass. A row's result does not depend, to the bit, on how many rows there are. No gradients.
 * Legend: M rows, K inputs, N outputs.
 */
import { native } from "./native.ts";
import { cat, Tensor, zeros } from "./ops.ts";
import { scope } from "./scope.ts";

const op = native.op("vigorl::packed_linear");

/** Outputs of a panel. */
const PANEL = 32;

export interface PackedWeights {
  /** As `packedShape` says. */
  readonly panels: Tensor;
  /** N. */
  readonly width: number;
  /** Every output is silu(gate) · up of two products: SwiGLU. */
  readonly gated?: boolean;
}

/** Shape of the panels of weights [N, K]; of gates and ups [N, K] each where `gated`. */
export function packedShape(width: number, depth: number, gated = false): number[] {
  return [Math.ceil((gated ? 2 * width : width) / PANEL), 1 + depth, PANEL];
}

/** A matrix [N, K] to be packed. */
export interface Packed {
  readonly weight: Tensor;
  /** [N]; none where absent. */
  readonly bias?: Tensor;
  /** Multiplies the columns, [K]: that of an RMS norm before. */
  readonly gain?: Tensor;
}

/** Numbers that are packed at once. */
const MAX_AT_ONCE = 2 ** 22;

/** Writes weights to where they are read from: one matrix, or gates and ups; some panels after others. */
export function packWeights({ panels }: PackedWeights, ...matrices: readonly Packed[]): void {
  const [numPanels, rows] = panels.shape;
  const outputs = PANEL / matrices.length;
  const atOnce = Math.max(1, Math.floor(MAX_AT_ONCE / (rows * PANEL)));
  for (let start = 0; start < numPanels; start += atOnce)
    scope(() => {
      const count = Math.min(atOnce, numPanels - start);
      const parts = matrices.map((matrix) =>
        rowsOf(matrix, start * outputs, count * outputs).view([count, outputs, rows]),
      );
      const own = panels.narrow(0, start, count).transpose(1, 2);
      own.copy_(parts.length === 1 ? parts[0] : cat(parts, 1));
    });
}

/** Some outputs' biases and weights [count, 1 + K]; zeros behind the last. */
function rowsOf({ weight, bias, gain }: Packed, start: number, count: number): Tensor {
  const [width, depth] = weight.shape;
  const { dtype, device } = weight;
  const there = Math.max(0, Math.min(count, width - start));
  const own = weight.narrow(0, Math.min(start, width), there);
  const first = bias?.narrow(0, Math.min(start, width), there).unsqueeze(1);
  const filled = cat(
    [first ?? zeros([there, 1], { dtype, device }), gain === undefined ? own : own.mul(gain)],
    1,
  );
  if (there === count) return filled;
  return cat([filled, zeros([count - there, 1 + depth], { dtype, device })], 0);
}

/**
 * x [M, K] times the weights, plus their biases: [M, N].
 * @param options `residual` [M, N] is added; with `normEps` rows are divided by their root mean square
 *   first (an RMS norm whose gain is part of the weights)
 */
export function packedLinear(
  x: Tensor,
  { panels, width, gated = false }: PackedWeights,
  {
    residual,
    normEps = null,
  }: { readonly residual?: Tensor; readonly normEps?: number | null } = {},
): Tensor {
  const { id = null } = residual ?? {};
  return new Tensor(native.call(op, x.id, panels.id, width, id, normEps, gated) as number);
}
