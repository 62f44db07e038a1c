/**
 * Attention over the cache of keys and values: many new positions in a prefill, one of each of several
 * slots in a decode step. It has three forms: one operator of our own, on a CPU in float32, to which
 * every new position is a row of its own; flash attention over rows, on a GPU in half precision; and
 * libtorch's products, which have one length for all slots and always run them all. On a CPU what a
 * decode step gives a slot depends, to the bit, on what the slot holds and on nothing else.
 * Legend: N rows, S slots, T new positions, P positions of the cache, H query heads, KV key-value heads,
 * G = H / KV, D head size.
 */
import { zeros, type Tensor } from "../torch/ops.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** A new token of a slot. */
export interface DecodeRow {
  readonly slot: number;
  readonly token: number;
  /** Cache positions that the slot holds before it. */
  readonly length: number;
  /** M-RoPE position: the `next` of the sequence so far, then one more a token. */
  readonly rope: number;
  /** A slot that begins with the same `shared` positions: they may be read there. */
  readonly source: number;
  readonly shared: number;
}

/** Where a prefill goes: after the `offset` positions of a slot. */
export interface PrefillPlace {
  readonly slot: number;
  readonly offset: number;
  /** T. */
  readonly length: number;
}

/** What runs in layer `layer`, from [N, KV · (G + 2) · D], which it may overwrite, to [N, H · D]. */
export type AttendLayer = (layer: number, heads: Tensor) => Tensor;

/** The operators of a decode step, as a tape records them. */
export interface DecodeStep {
  /** Newest tokens, int64 [N]. */
  readonly tokens: Tensor;
  readonly attend: AttendLayer;
  /** Makes it the step after it, in which these tokens [N] are the newest; where that can be recorded. */
  readonly goOn?: (tokens: Tensor) => void;
}

/** The attention of one cache size. */
export interface CacheAttention {
  /**
   * @param places one, or several where the decoder `takesMany`
   * @param factors complex [N, D / 2], of the new positions of all places one after another
   */
  prefill(places: readonly PrefillPlace[], factors: Tensor): AttendLayer;
  /** Writes a step's integers to where its tape reads them; its shape, on which the tape depends. */
  describe(rows: readonly DecodeRow[]): number;
  decode(shape: number): DecodeStep;
  /** Where row `i` of a step stands in what the tape gives. */
  rowOf(rows: readonly DecodeRow[], i: number): number;
  dispose(): void;
}

/** Integers of a step, int64 on the device, written as the low words of as many. */
export class Integers {
  readonly tensor: Tensor;
  readonly #words: Int32Array;

  constructor(count: number, device: VisionLanguageModel["device"]) {
    this.tensor = zeros([count], { dtype: "int64", device }).keep();
    this.#words = new Int32Array(2 * count);
  }

  set(index: number, value: number): void {
    this.#words[2 * index] = value;
    this.#words[2 * index + 1] = value < 0 ? -1 : 0;
  }

  write(): void {
    this.tensor.setBytes(this.#words);
  }
}

/** Rotary factors of text by position, complex [P, D / 2]. */
export function factorsOf({ textRotary }: VisionLanguageModel, numPositions: number): Tensor {
  const ids = Int32Array.from({ length: numPositions }, (_, position) => position);
  return textRotary.at([ids, ids, ids]);
}
