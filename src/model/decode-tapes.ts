/**
 * Steps of decoding on a cache of one size, recorded once for each shape and run again from the tape. A
 * step gives logits, or several of them draw their tokens themselves, one after another: between two
 * steps of a small model the way through JavaScript would cost as much as a step does.
 * Legend: N rows, R rows of a tape, K steps, V vocabulary.
 */
import { kernels } from "../torch/kernels.ts";
import { stack, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { Tape } from "../torch/tape.ts";
import { tensor } from "../torch/tensor.ts";
import type { CacheAttention, DecodeRow, DecodeStep } from "./cache-attention.ts";

/** Numbers of a draw, as `kernels.drawTokens` takes them, of which the first is the row of the logits. */
export const DRAW_COLUMNS = 5;
/** Most rows by which a shape exceeds what is asked for. */
const MAX_PADDING = 3;
/** Of a row that nothing is computed for. */
const IDLE = [0, 0, 0, 1, 0];
/** Most steps of one run. */
export const MAX_STEPS = 4;

/** Logits of a step, [any, V], and where those of its row `i` stand. */
export interface Decoded {
  readonly logits: Tensor;
  readonly rowOf: (i: number) => number;
}

export class DecodeTapes {
  readonly capacity: number;
  readonly attention: CacheAttention;
  /** The operators of a step; its logits. */
  readonly #step: (step: DecodeStep) => Tensor;
  readonly #canTape: boolean;
  readonly #record: <T>(fn: () => T) => T;
  readonly #byShape = new Map<number, Tape>();
  /** By K and shape. */
  readonly #drawing = new Map<string, Tape>();
  /** What is to be drawn; the tapes read the first [K, R, 5] of it. */
  readonly #draws: Float64Array;
  readonly #drawsTensor: Tensor;

  /** @param options `record` surrounds every recording */
  constructor(
    capacity: number,
    attention: CacheAttention,
    step: (step: DecodeStep) => Tensor,
    options: {
      readonly numRows: number;
      readonly canTape: boolean;
      readonly record: <T>(fn: () => T) => T;
    },
  ) {
    const { numRows } = options;
    this.capacity = capacity;
    this.attention = attention;
    this.#step = step;
    this.#canTape = options.canTape;
    this.#record = options.record;
    this.#draws = new Float64Array(MAX_STEPS * (numRows + MAX_PADDING) * DRAW_COLUMNS);
    this.#drawsTensor = tensor(this.#draws, { dtype: "float64" }).keep();
  }

  /** A step; its logits belong to the caller's scope. */
  logits(rows: readonly DecodeRow[]): Decoded {
    const { attention } = this;
    const shape = attention.describe(rows);
    const run = (): Tensor[] => [this.#step(attention.decode(shape))];
    const rowOf = (i: number): number => attention.rowOf(rows, i);
    if (!this.#canTape) return { logits: scope(() => run()[0]), rowOf };
    let tape = this.#byShape.get(shape);
    if (tape === undefined) {
      tape = this.#record(() => scope(() => new Tape(run)));
      this.#byShape.set(shape, tape);
    }
    return { logits: tape.run()[0], rowOf };
  }

  /**
   * Steps that draw their tokens, where steps are recorded and `attention` lets rows go on.
   * @param draws [K, N, 5], without the first of the five
   * @returns [K, N, 2]: tokens, −1 behind logits that are not finite, and their log-probabilities
   */
  drawn(rows: readonly DecodeRow[], draws: Float64Array): Float64Array {
    const numSteps = draws.length / (DRAW_COLUMNS * rows.length);
    const numRows = this.attention.describe(rows);
    for (let k = 0; k < numSteps; k++)
      for (let i = 0; i < numRows; i++) {
        const to = (k * numRows + i) * DRAW_COLUMNS;
        const from = (k * rows.length + i) * DRAW_COLUMNS;
        this.#draws[to] = i;
        for (let c = 1; c < DRAW_COLUMNS; c++)
          this.#draws[to + c] = i < rows.length ? draws[from + c] : IDLE[c];
      }
    this.#drawsTensor.setBytes(this.#draws);
    const key = `${numSteps} ${numRows}`;
    let tape = this.#drawing.get(key);
    if (tape === undefined) {
      tape = this.#record(() => scope(() => this.#recordDrawing(numSteps, numRows)));
      this.#drawing.set(key, tape);
      // Recording it went on from these rows.
      this.attention.describe(rows);
    }
    const all = scope(() => tape.run()[0].toArray()) as Float64Array;
    if (numRows === rows.length) return all;
    const drawn = new Float64Array(numSteps * rows.length * 2);
    for (let k = 0; k < numSteps; k++) {
      const from = k * numRows * 2;
      drawn.set(all.subarray(from, from + rows.length * 2), k * rows.length * 2);
    }
    return drawn;
  }

  dispose(): void {
    for (const tapes of [this.#byShape, this.#drawing])
      for (const tape of tapes.values()) tape.dispose();
    this.attention.dispose();
    this.#drawsTensor.dispose();
  }

  #recordDrawing(numSteps: number, numRows: number): Tape {
    const draws = this.#drawsTensor
      .narrow(0, 0, numSteps * numRows * DRAW_COLUMNS)
      .view([numSteps, numRows, DRAW_COLUMNS]);
    const step = this.attention.decode(numRows);
    return new Tape(() => {
      const drawn: Tensor[] = [];
      for (let k = 0; k < numSteps; k++) {
        if (k > 0) step.goOn!(drawn[k - 1].select(1, 0).clampMin(0));
        drawn.push(kernels.drawTokens(this.#step(step), draws.select(0, k)));
      }
      return [stack(drawn)];
    });
  }
}
