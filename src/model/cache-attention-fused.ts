/**
 * Attention over the cache by our own operator. Prefill and decode are one thing to it: rows, each a new
 * position of a slot.
 * Legend: S slots, T new positions, P positions of the cache, D head size.
 */
import { kernels } from "../torch/kernels.ts";
import type { Tensor } from "../torch/ops.ts";
import { tensor } from "../torch/tensor.ts";
import {
  factorsOf,
  Integers,
  type AttendLayer,
  type CacheAttention,
  type DecodeInput,
  type PrefillPlace,
} from "./cache-attention.ts";
import type { KvCache } from "./kv-cache.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/** Integers of a row: slot, position, row of its rotary factors, source, positions shared with it. */
const COLUMNS = 5;

export class FusedAttention implements CacheAttention {
  readonly tokens: Tensor;
  readonly #cache: KvCache;
  readonly #numHeads: number;
  /** Tokens [S], then rows [S, 5]. */
  readonly #input: Integers;
  readonly #rows: Tensor;
  readonly #factors: Tensor;
  readonly #layers: readonly { readonly keys: Tensor; readonly values: Tensor }[];

  constructor(model: VisionLanguageModel, cache: KvCache) {
    const { numHeads, numLayers } = model.config.text;
    const { numSlots, capacity } = cache;
    this.#cache = cache;
    this.#numHeads = numHeads;
    this.#input = new Integers((1 + COLUMNS) * numSlots, model.device);
    const [tokens, rows] = this.#input.tensor.splitWithSizes([numSlots, COLUMNS * numSlots], 0);
    this.tokens = tokens.keep();
    this.#rows = rows.view([numSlots, COLUMNS]).keep();
    this.#factors = factorsOf(model, capacity).keep();
    this.#layers = Array.from({ length: numLayers }, (_, layer) => {
      const { keys, values } = cache.blocks(layer);
      return { keys: keys.keep(), values: values.keep() };
    });
  }

  prefill({ slot, offset, length }: PrefillPlace, factors: Tensor): AttendLayer {
    const columns = Array.from({ length }, (_, t) => [slot, offset + t, t, slot, 0]);
    const shape = [length, COLUMNS];
    const rows = tensor(Int32Array.from(columns.flat()), { shape, dtype: "int64" });
    return (layer, heads) => this.#attend(layer, heads, factors, rows);
  }

  describe({ tokens, positions, lengths, active, sources, shared }: DecodeInput): void {
    const { numSlots } = this.#cache;
    const input = this.#input;
    for (let slot = 0; slot < numSlots; slot++) {
      const first = numSlots + COLUMNS * slot;
      input.set(slot, tokens[slot]);
      input.set(first, active[slot] === 1 ? slot : -1);
      input.set(first + 1, active[slot] === 1 ? lengths[slot] : 0);
      input.set(first + 2, positions[slot]);
      input.set(first + 3, sources[slot]);
      input.set(first + 4, shared[slot]);
    }
    input.write();
  }

  reach(): number {
    return this.#cache.capacity;
  }

  decode(): AttendLayer {
    return (layer, heads) => this.#attend(layer, heads, this.#factors, this.#rows);
  }

  dispose(): void {
    const { tokens } = this;
    for (const own of [tokens, this.#input.tensor, this.#rows, this.#factors]) own.dispose();
    for (const { keys, values } of this.#layers) for (const own of [keys, values]) own.dispose();
  }

  #attend(layer: number, heads: Tensor, factors: Tensor, rows: Tensor): Tensor {
    return kernels.attendCached(heads, factors, this.#layers[layer], rows, this.#numHeads);
  }
}
