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
  type DecodeRow,
  type DecodeStep,
  type PrefillPlace,
} from "./cache-attention.ts";
import { numAttentionLayers } from "./config.ts";
import type { KvCache } from "./kv-cache.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

/**
 * Integers of a row: slot, position, row of its rotary factors, source, positions shared with it. The
 * second and third grow by one a step.
 */
const COLUMNS = 5;

export class FusedAttention implements CacheAttention {
  readonly #numHeads: number;
  /** Tokens [R], then rows [R, 5], with R the most rows of a step. */
  readonly #input: Integers;
  readonly #maxRows: number;
  readonly #factors: Tensor;
  readonly #layers: readonly { readonly keys: Tensor; readonly values: Tensor }[];

  constructor(model: VisionLanguageModel, cache: KvCache, numRows: number) {
    const { text } = model.config;
    const { numHeads } = text;
    this.#numHeads = numHeads;
    this.#maxRows = shapeFor(numRows);
    this.#input = new Integers((1 + COLUMNS) * this.#maxRows, model.device);
    this.#factors = factorsOf(model, cache.capacity).keep();
    this.#layers = Array.from({ length: numAttentionLayers(text) }, (_, layer) => {
      const { keys, values } = cache.blocks(layer);
      return { keys: keys.keep(), values: values.keep() };
    });
  }

  prefill(places: readonly PrefillPlace[], factors: Tensor): AttendLayer {
    const numRows = factors.size(0);
    const columns = new Int32Array(COLUMNS * numRows);
    let row = 0;
    for (const { slot, offset, length } of places)
      for (let t = 0; t < length; t++, row++) {
        const at = COLUMNS * row;
        columns[at] = slot;
        columns[at + 1] = offset + t;
        columns[at + 2] = row;
        columns[at + 3] = slot;
      }
    const rows = tensor(columns, { shape: [numRows, COLUMNS], dtype: "int64" });
    return (layer, heads) => this.#attend(layer, heads, factors, rows);
  }

  describe(rows: readonly DecodeRow[]): number {
    const shape = shapeFor(rows.length);
    const input = this.#input;
    for (let i = 0; i < shape; i++) {
      const { slot, token, length, rope, source, shared } = i < rows.length ? rows[i] : IDLE;
      const first = this.#maxRows + COLUMNS * i;
      input.set(i, token);
      input.set(first, slot);
      input.set(first + 1, length);
      input.set(first + 2, rope);
      input.set(first + 3, source);
      input.set(first + 4, shared);
    }
    input.write();
    return shape;
  }

  decode(shape: number): DecodeStep {
    const tokens = this.#input.tensor.narrow(0, 0, shape);
    const rows = this.#input.tensor
      .narrow(0, this.#maxRows, COLUMNS * shape)
      .view([shape, COLUMNS]);
    return {
      tokens,
      attend: (layer, heads) => this.#attend(layer, heads, this.#factors, rows),
      goOn: (newest) => {
        tokens.copy_(newest);
        rows.narrow(1, 1, 2).add_(1);
      },
    };
  }

  rowOf(_: readonly DecodeRow[], i: number): number {
    return i;
  }

  dispose(): void {
    for (const own of [this.#input.tensor, this.#factors]) own.dispose();
    for (const { keys, values } of this.#layers) for (const own of [keys, values]) own.dispose();
  }

  #attend(layer: number, heads: Tensor, factors: Tensor, rows: Tensor): Tensor {
    return kernels.attendCached(heads, factors, this.#layers[layer], rows, this.#numHeads);
  }
}

/** A row that nothing is computed for. */
const IDLE: DecodeRow = { slot: -1, token: 0, length: 0, rope: 0, source: 0, shared: 0 };

/** Rows that a step of `count` is run with: few shapes, so that there are few tapes. */
function shapeFor(count: number): number {
  return count <= 2 ? count : Math.ceil(count / 4) * 4;
}
