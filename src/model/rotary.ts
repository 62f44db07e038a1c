/**
 * Rotary factors as tensors: tables of every position that was asked for so far, computed once and
 * looked up by position id, one table an axis. They grow by doubling and live until `dispose`.
 */
import { cat, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { tensor, type Device } from "../torch/tensor.ts";
import { rotaryBlock } from "./rope.ts";

export class Rotary {
  readonly #frequencies: readonly (readonly number[])[];
  readonly #axisOf: readonly number[];
  readonly #device: Device;
  #numPositions = 0;
  #blocks: Tensor[] = [];
  /** All axes side by side: what a token needs whose ids are one and the same. */
  #joined!: Tensor;

  /** @param frequencies by axis; the head dimension is twice their total number */
  constructor(frequencies: readonly (readonly number[])[], device: Device) {
    this.#frequencies = frequencies.filter((axis) => axis.length > 0);
    this.#axisOf = frequencies.flatMap((axis, i) => (axis.length > 0 ? [i] : []));
    this.#device = device;
  }

  /**
   * Factors at the position ids of each axis (arrays of length N; text passes one for all axes), as
   * complex numbers of single precision: [N, D / 2].
   */
  at(axes: readonly Int32Array[]): Tensor {
    let highest = 0;
    for (const axis of this.#axisOf) for (const id of axes[axis]) if (id > highest) highest = id;
    this.#grow(highest + 1);
    const joined = this.#axisOf.every((axis) => axes[axis] === axes[this.#axisOf[0]])
      ? this.#look(this.#joined, axes[this.#axisOf[0]])
      : cat(
          this.#blocks.map((block, i) => this.#look(block, axes[this.#axisOf[i]])),
          1,
        );
    return joined.viewAsComplex();
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
          shape: [numPositions, axis.length, 2],
          device: this.#device,
        }),
      ).keep(),
    );
    this.#joined = cat(this.#blocks, 1).keep();
  }
}
