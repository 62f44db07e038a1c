/**
 * Rotary factors as tensors: tables of every position that was asked for so far, computed once and
 * looked up by position id, one table an axis. They grow by doubling and live until `dispose`.
 */
import { cat, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { tensor, type Device, type DType } from "../torch/tensor.ts";
import { rotaryBlock } from "./rope.ts";

/** Factors of N positions, [N, headDim] each; `sin` carries the sign of the half it multiplies. */
export interface RotaryFactors {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

export class Rotary {
  readonly #frequencies: readonly (readonly number[])[];
  readonly #axisOf: readonly number[];
  readonly #dtype: DType;
  readonly #device: Device;
  #numPositions = 0;
  #blocks: Tensor[] = [];
  /** All axes side by side: what a token needs whose ids are one and the same. */
  #joined!: Tensor;

  /** @param frequencies by axis; the head dimension is twice their total number */
  constructor(frequencies: readonly (readonly number[])[], dtype: DType, device: Device) {
    this.#frequencies = frequencies.filter((axis) => axis.length > 0);
    this.#axisOf = frequencies.flatMap((axis, i) => (axis.length > 0 ? [i] : []));
    this.#dtype = dtype;
    this.#device = device;
  }

  /** Factors at the position ids of each axis: arrays of length N; text passes one for all axes. */
  at(axes: readonly Int32Array[]): RotaryFactors {
    let highest = 0;
    for (const axis of this.#axisOf) for (const id of axes[axis]) if (id > highest) highest = id;
    this.#grow(highest + 1);
    const joined = this.#axisOf.every((axis) => axes[axis] === axes[this.#axisOf[0]])
      ? this.#look(this.#joined, axes[this.#axisOf[0]])
      : cat(
          this.#blocks.map((block, i) => this.#look(block, axes[this.#axisOf[i]])),
          2,
        );
    const [length, , half] = joined.shape;
    const pairs = joined.view([length, 2, half * 2]);
    return { cos: pairs.select(1, 0), sin: pairs.select(1, 1) };
  }

  dispose(): void {
    for (const block of this.#blocks) block.dispose();
    if (this.#numPositions > 0) this.#joined.dispose();
    this.#blocks = [];
    this.#numPositions = 0;
  }

  #look(table: Tensor, ids: Int32Array): Tensor {
    return table.indexSelect(0, tensor(ids, { dtype: "int64", device: this.#device }));
  }

  #grow(needed: number): void {
    if (needed <= this.#numPositions) return;
    let numPositions = Math.max(256, this.#numPositions);
    while (numPositions < needed) numPositions *= 2;
    this.dispose();
    this.#numPositions = numPositions;
    this.#blocks = this.#frequencies.map((axis) =>
      scope(() =>
        tensor(rotaryBlock(axis, numPositions), {
          shape: [numPositions, 4, axis.length],
          device: this.#device,
        }).to(this.#dtype),
      ).keep(),
    );
    this.#joined = cat(this.#blocks, 2).keep();
  }
}
