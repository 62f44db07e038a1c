/**
 * Products of rows with weights that were packed beforehand: what a general product does anew each
 * time, and for few rows pays dearly. Norm before, bias, gates and residual after are part of the same
 * pass. A row's result does not depend, to the bit, on how many rows there are. No gradients.
 * Legend: M rows, K inputs, N outputs.
 */
import { native } from "./native.ts";
import { cat, Tensor, zeros } from "./ops.ts";

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

/**
 * Writes weights [N, K], with biases [N] or none, to where they are read from: one matrix, or gates and
 * ups.
 */
export function packWeights(
  { panels }: PackedWeights,
  ...matrices: readonly { readonly weight: Tensor; readonly bias?: Tensor }[]
): void {
  const [numPanels, rows] = panels.shape;
  const parts = matrices.map(({ weight, bias }) => {
    const [width] = weight.shape;
    const { dtype, device } = weight;
    const first = bias?.unsqueeze(1) ?? zeros([width, 1], { dtype, device });
    const missing = (numPanels * PANEL) / matrices.length - width;
    const padding = zeros([missing, rows], { dtype, device });
    return cat([cat([first, weight], 1), padding], 0).view([numPanels, -1, rows]);
  });
  panels.transpose(1, 2).copy_(cat(parts, 1));
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
