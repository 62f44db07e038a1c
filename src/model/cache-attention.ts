/**
 * Attention over the cache of keys and values: many new positions of one slot in a prefill, one of every
 * slot in a decode step. It has two forms: one operator of our own, on a CPU in float32, for which slots
 * are as long as they are, and libtorch's operators, which have one length for all. Either way a slot's
 * result depends, to the bit, on what the slot holds and on nothing else.
 * Legend: S slots, T new positions, P positions of the cache, H query heads, KV key-value heads,
 * G = H / KV, D head size.
 */
import { zeros, type Tensor } from "../torch/ops.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

export interface DecodeInput {
  /** Newest token of each slot, S; anything where idle. */
  readonly tokens: Int32Array;
  /** M-RoPE position of that token, S: the `next` of the sequence so far, then one more a token. */
  readonly positions: Int32Array;
  /** Cache positions each slot already holds, S; for idle slots too (their contents stay intact). */
  readonly lengths: Int32Array;
  /** 1 for slots that take part, S. */
  readonly active: Uint8Array;
  /**
   * A slot that begins with the same positions, S, and how many these are (0: none); they may be read
   * there.
   */
  readonly sources: Int32Array;
  readonly shared: Int32Array;
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

/** The attention of one cache size. What `decode` gives is recorded on a tape, once for each reach. */
export interface CacheAttention {
  /** Newest tokens, int64 [S]. */
  readonly tokens: Tensor;
  /** @param factors complex [T, D / 2], of the new positions */
  prefill(place: PrefillPlace, factors: Tensor): AttendLayer;
  /** Writes a step's integers to where its tape reads them. */
  describe(step: DecodeInput): void;
  /** Positions to attend to where the longest sequence has `longest`. */
  reach(longest: number): number;
  decode(reach: number): AttendLayer;
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
