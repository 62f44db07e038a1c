/**
 * What delta nets carry sequences on by while they are generated: for each slot of the cache the last rows
 * that went into the convolutions, and the memories. Unlike keys and values they cannot be cut back: they
 * are the sequence as far as it has come. Some places beside the slots keep what a slot's was once, so that
 * a sequence can be taken up there again.
 * Legend: L delta nets, P places (slots, then kept ones, then a spare), S sequences, T positions that a
 * convolution looks at, W convolved numbers, H value heads, K and V sizes of key and value vectors.
 */
import { cat, zeros, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import { Integers, type PrefillPlace } from "./cache-attention.ts";
import {
  convolvedWidth,
  isDelta,
  numDeltaLayers,
  type DeltaConfig,
  type TextConfig,
} from "./config.ts";
import { deltaLayout, mixFlat, mixStep_, type DeltaNet, type DeltaState } from "./delta-net.ts";
import { deltaOf } from "./language.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** Rows by which a step may exceed those that are asked for. */
const MAX_PADDING = 32;

/** What a delta net makes of its inputs, [N, width of `deltaInputs`] to [N, H · V]. */
export type MixLayer = (layer: number, inputs: Tensor) => Tensor;

export class DeltaStates {
  /** Places for states that are kept beside those of the slots. */
  readonly numKept: number;
  readonly #model: VisionLanguageModel;
  readonly #delta: DeltaConfig;
  readonly #numSlots: number;
  /** By layer, which delta net it is; −1 where none. */
  readonly #index: readonly number[];
  /** [L, P, T − 1, W]. */
  readonly #rows: Tensor;
  /** float32 [L, P, H, K, V]. */
  readonly #memories: Tensor;
  /** The place of each row of a step. */
  readonly #places: Integers;
  readonly #mostRows: number;
  /** Places that the step which was described last goes on from. */
  #described: readonly number[] = [];

  constructor(
    model: VisionLanguageModel,
    delta: DeltaConfig,
    {
      numSlots,
      numRows,
      numKept,
    }: { readonly numSlots: number; readonly numRows: number; readonly numKept: number },
  ) {
    const { dtype, device, config } = model;
    const { numValueHeads, keyDim, valueDim, kernel } = delta;
    let next = 0;
    this.#index = Array.from({ length: config.text.numLayers }, (_, layer) =>
      isDelta(config.text, layer) ? next++ : -1,
    );
    this.#model = model;
    this.#delta = delta;
    this.#numSlots = numSlots;
    this.numKept = numKept;
    const places = numSlots + numKept + 1;
    const rows = [next, places, kernel - 1, convolvedWidth(delta)];
    const memories = [next, places, numValueHeads, keyDim, valueDim];
    [this.#rows, this.#memories] = noGrad(() =>
      scope(() => [zeros(rows, { dtype, device }).keep(), zeros(memories, { device }).keep()]),
    );
    this.#mostRows = Math.max(numSlots, numRows) + MAX_PADDING;
    this.#places = new Integers(this.#mostRows, device);
  }

  /** Copies the state of a slot to others. */
  copy(from: number, to: readonly number[]): void {
    const targets = to.filter((place) => place !== from);
    if (targets.length === 0) return;
    noGrad(() =>
      scope(() => {
        for (const all of [this.#rows, this.#memories])
          for (const place of targets) all.select(1, place).copy_(all.select(1, from));
      }),
    );
  }

  /** Keeps the state of a slot in one of the kept places. */
  keep(slot: number, kept: number): void {
    this.copy(slot, [this.#numSlots + kept]);
  }

  /** Gives slots the state that was kept in a place. */
  restore(kept: number, slots: readonly number[]): void {
    this.copy(this.#numSlots + kept, slots);
  }

  /** The nets of prompts: each carries on its slot's state, or begins anew. */
  prefill(places: readonly PrefillPlace[]): MixLayer {
    const { device } = this.#model;
    for (const { slot, offset } of places)
      if (offset === 0)
        for (const all of [this.#rows, this.#memories]) scope(() => all.select(1, slot).zero_());
    // On a CPU what a sequence comes to must not depend on the others, in its rounding.
    const groups = device === "cpu" ? places.map((place) => [place]) : [places];
    const plans = groups.map((group) => {
      const lengths = group.map(({ length }) => length);
      const slots = Int32Array.from(group, ({ slot }) => slot);
      return {
        numRows: lengths.reduce((sum, length) => sum + length, 0),
        layout: deltaLayout(lengths, this.#delta, device),
        index: tensor(slots, { dtype: "int64", device }),
      };
    });
    return (layer, inputs) => {
      let start = 0;
      const parts = plans.map(({ numRows, layout, index }) => {
        const own = inputs.narrow(0, start, numRows);
        start += numRows;
        const { net, all, config } = this.#at(layer);
        const { mixed, state } = mixFlat(net, config, this.#delta, own, layout, read(all, index));
        write(all, index, state);
        return mixed;
      });
      return parts.length === 1 ? parts[0] : cat(parts, 0);
    };
  }

  /** Says which slot each row of a step stands for; the others change nothing. */
  describe(slots: ReadonlyMap<number, number>): void {
    const spare = this.#numSlots + this.numKept;
    for (let row = 0; row < this.#mostRows; row++) this.#places.set(row, slots.get(row) ?? spare);
    this.#places.write();
    this.#described = [...slots.values()];
  }

  /** The nets of a step of so many rows, as a tape records them. */
  step(numRows: number): MixLayer {
    const index = this.#places.tensor.narrow(0, 0, numRows);
    return (layer, inputs) => {
      const { net, all, config } = this.#at(layer);
      const state = read(all, index);
      const mixed = mixStep_(net, config, this.#delta, inputs, state);
      write(all, index, state);
      return mixed;
    };
  }

  /** Runs what carries the described slots on, and puts them back to where they were. */
  aside<T>(fn: () => T): T {
    return noGrad(() => {
      const { device } = this.#model;
      const slots = Int32Array.from(this.#described);
      const both = [this.#rows, this.#memories];
      const index = scope(() => tensor(slots, { dtype: "int64", device })).keep();
      const before = both.map((all) => scope(() => all.indexSelect(1, index)).keep());
      try {
        return fn();
      } finally {
        for (const [i, all] of both.entries()) scope(() => all.indexCopy_(1, index, before[i]));
        for (const own of [index, ...before]) own.dispose();
      }
    });
  }

  dispose(): void {
    for (const own of [this.#rows, this.#memories, this.#places.tensor]) own.dispose();
  }

  #at(layer: number): {
    readonly net: DeltaNet;
    readonly all: DeltaState;
    readonly config: TextConfig;
  } {
    const { language, config } = this.#model;
    const net = deltaOf(language.layers[layer]);
    if (net === undefined) throw new Error(`layer ${layer} has no delta net`);
    const index = this.#index[layer];
    const all = { rows: this.#rows.select(0, index), memories: this.#memories.select(0, index) };
    return { net, all, config: config.text };
  }
}

/** Bytes of the state of one place. */
export function stateBytes(text: TextConfig, bytesPerNumber: number): number {
  const { delta } = text;
  if (delta === undefined) return 0;
  const { numValueHeads, keyDim, valueDim, kernel } = delta;
  const rows = (kernel - 1) * convolvedWidth(delta) * bytesPerNumber;
  return numDeltaLayers(text) * (rows + 4 * numValueHeads * keyDim * valueDim);
}

function read({ rows, memories }: DeltaState, index: Tensor): DeltaState {
  return { rows: rows.indexSelect(0, index), memories: memories.indexSelect(0, index) };
}

function write({ rows, memories }: DeltaState, index: Tensor, state: DeltaState): void {
  rows.indexCopy_(0, index, state.rows);
  memories.indexCopy_(0, index, state.memories);
}
