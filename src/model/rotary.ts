/**
 * Rotary factors as tensors: tables of every position that was asked for so far, computed once and
 * looked up by position id, one table an axis. They grow by doubling and live until `dispose`.
 */
import { cat, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { tensor, type Device } from "../torch/tensor.ts";
import { rotaryBlock, type RotaryPairs } from "./rope.ts";

export class Rotary {
  /** Of each axis that has any, in ascending order. */
  readonly #frequencies: readonly (readonly number[])[];
  readonly #axisOf: readonly number[];
  /** Where each pair stands among the axes' blocks side by side; absent where in their order. */
  readonly #order: Tensor | undefined;
  readonly #scale: number;
  readonly #device: Device;
  #numPositions = 0;
  #blocks: Tensor[] = [];
  /** All pairs in their order: what a token needs whose ids are one and the same. */
  #joined!: Tensor;

  /** The head dimension is twice the number of pairs. */
  constructor({ frequencies, axes, scale }: RotaryPairs, device: Device) {
    this.#scale = scale;
    this.#axisOf = [...new Set(axes)].sort((a, b) => a - b);
    this.#frequencies = this.#axisOf.map((axis) => frequencies.filter((_, j) => axes[j] === axis));
    this.#device = device;
    const sideBySide = this.#axisOf.flatMap((axis) =>
      [...axes.keys()].filter((j) => axes[j] === axis),
    );
    if (sideBySide.some((pair, place) => pair !== place)) {
      const order = Int32Array.from(axes.keys(), (pair) => sideBySide.indexOf(pair));
      this.#order = tensor(order, { dtype: "int64", device }).keep();
    }
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
      : this.#join(this.#blocks.map((block, i) => this.#look(block, axes[this.#axisOf[i]])));
    return joined.viewAsComplex();
  }

  dispose(): void {
    this.#drop();
    this.#order?.dispose();
  }

  #drop(): void {
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
    this.#drop();
    this.#numPositions = numPositions;
    this.#blocks = this.#frequencies.map((axis) =>
      scope(() =>
        tensor(rotaryBlock(axis, numPositions, this.#scale), {
          shape: [numPositions, axis.length, 2],
          device: this.#device,
        }),
      ).keep(),
    );
    this.#joined = scope(() => this.#join(this.#blocks)).keep();
  }

  /** Blocks [N, pairs of an axis, 2] to all pairs in their order. */
  #join(blocks: readonly Tensor[]): Tensor {
    const joined = cat(blocks, 1);
    return this.#order === undefined ? joined : joined.indexSelect(1, this.#order);
  }
}
