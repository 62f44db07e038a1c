/**
 * Generation on a KV cache with continuous batching. A slot is filled by `prefill` (also later on,
 * after a turn of the environment), shared by `copyPrefix`, and grows by `decode`, one token for every
 * slot a step. A step always runs all slots in the same shapes, idle ones included, so that what a slot
 * computes does not depend, to the bit, on which others are busy. Its operators are the same ones every
 * time and are therefore recorded, once for each number of positions attended to, and run again from
 * the tape. Sampling belongs to the engine.
 * Legend: S slots, T new positions, L positions attended to, P positions of the cache, V vocabulary,
 * H query heads, KV key-value heads, G = H / KV, D head size.
 */
import { VigorlError } from "../core/errors.ts";
import { attention } from "../torch/nn.ts";
import { cat, empty, full, ones, zeros, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { Tape } from "../torch/tape.ts";
import type { Batch } from "./batch.ts";
import { FusedLanguage, rotate_, type FusedLayer } from "./fused.ts";
import { KvCache } from "./kv-cache.ts";
import type { Qwen25VL } from "./qwen2-5-vl.ts";

export interface DecodeInput {
  /** Newest token of each slot, S; anything where idle. */
  readonly tokens: Int32Array;
  /** M-RoPE position of that token, S: the `next` of the sequence so far, then one more a token. */
  readonly positions: Int32Array;
  /** Cache positions each slot already holds, S; for idle slots too (their contents stay intact). */
  readonly lengths: Int32Array;
  /** 1 for slots that take part, S. */
  readonly active: Uint8Array;
}

/** What the tapes of one cache size share. */
interface StepState {
  readonly capacity: number;
  /** int64: tokens [S], then [S · KV] each of cache rows, M-RoPE positions, rows of `window`. */
  readonly input: Tensor;
  /** The low and high words of `input`. */
  readonly words: Int32Array;
  /** Rotary factors by position, complex [P, D / 2]. */
  readonly rotary: Tensor;
  /** Row P - 1 - n, read over L entries: 0 for positions 0…n, -Infinity beyond. [2P] */
  readonly window: Tensor;
  /** Where the projections of every layer go. */
  readonly qkv: Tensor;
  readonly gateUp: Tensor;
  /** By L. */
  readonly tapes: Map<number, Tape>;
}

export class Decoder {
  readonly cache: KvCache;
  readonly #model: Qwen25VL;
  readonly #fused: FusedLanguage;
  #state: StepState;

  constructor(
    model: Qwen25VL,
    options: {
      readonly numSlots: number;
      readonly maxPositions: number;
      /** `weights` of another decoder of this model, whose copies serve both; taken over. */
      readonly weights?: Tensor;
    },
  ) {
    this.#model = model;
    const { dtype, device } = model;
    this.cache = new KvCache(model.config.text, { ...options, dtype, device });
    this.#fused = new FusedLanguage(model, options.weights);
    this.#state = noGrad(() => this.#newState());
  }

  /** The decoder's own copies of the weights, one after another. */
  get weights(): Tensor {
    return this.#fused.block;
  }

  /** Takes over the model's present weights; call it after every optimiser step or load. */
  refresh(): void {
    this.#fused.refresh();
  }

  /**
   * Writes one sequence into a slot, after the `offset` positions it holds, and returns the logits of
   * its last position, [1, V] (owned by the caller's scope).
   * @param batch one sequence, planned with `starts: [next of what came before]`
   * @param features encoded images of the batch, where it has any
   */
  prefill(slot: number, offset: number, batch: Batch, features?: Tensor): Tensor {
    if (batch.lengths.length !== 1) throw new Error("prefill takes one sequence");
    const length = batch.lengths[0];
    this.cache.checkRoom(offset + length);
    return noGrad(() =>
      scope(() => {
        const model = this.#model;
        let x = model.embed(batch, features);
        const factors = model.textRotary.at(batch.axes).view([length, 1, 1, -1]);
        const mask =
          offset === 0
            ? undefined
            : ones([length, offset + length], { dtype: "bool", device: model.device }).tril(offset);
        for (const [i, layer] of this.#fused.layers.entries()) {
          const last = i === this.#fused.layers.length - 1;
          const input = x;
          x = scope(() =>
            this.#prefillLayer(layer, i, input, factors, { slot, offset, mask, last }),
          );
        }
        return this.#fused.logits(x);
      }),
    );
  }

  /** Shares the first `length` positions of a slot with others. */
  copyPrefix(from: number, to: readonly number[], length: number): void {
    this.cache.copyPrefix(from, to, length);
  }

  /**
   * One token for every slot: stores it at `lengths[slot]` and returns the logits that follow it,
   * [S, V] (owned by the caller's scope; rows of idle slots mean nothing).
   * @throws VigorlError "input" where an active slot is full
   */
  decode(input: DecodeInput): Tensor {
    const { cache } = this;
    let longest = 0;
    for (let slot = 0; slot < cache.numSlots; slot++) {
      if (input.active[slot] !== 1) continue;
      longest = Math.max(longest, input.lengths[slot] + 1);
    }
    cache.checkRoom(longest);
    if (longest === 0) throw new VigorlError("numerics", "decode: no slot is active");
    const attended = Math.ceil(longest / cache.bucket) * cache.bucket;
    return noGrad(() => {
      if (this.#state.capacity !== cache.capacity) {
        this.#dropState();
        this.#state = this.#newState();
      }
      const state = this.#state;
      this.#describe(state, input);
      let tape = state.tapes.get(attended);
      if (tape === undefined) {
        tape = scope(() => new Tape(() => [this.#step(state, attended)]));
        state.tapes.set(attended, tape);
      }
      return tape.run()[0];
    });
  }

  dispose(): void {
    this.#dropState();
    this.cache.dispose();
    this.#fused.dispose();
  }

  #newState(): StepState {
    const { dtype, device, textRotary } = this.#model;
    const { numHeads, numKeyValueHeads, headDim, intermediateSize } = this.#model.config.text;
    const { numSlots, capacity } = this.cache;
    const numInputs = numSlots * (1 + 3 * numKeyValueHeads);
    const width = (numHeads + 2 * numKeyValueHeads) * headDim;
    const options = { dtype, device };
    return scope(() => {
      const ids = Int32Array.from({ length: capacity }, (_, position) => position);
      return {
        capacity,
        input: zeros([numInputs], { dtype: "int64", device }).keep(),
        words: new Int32Array(2 * numInputs),
        rotary: textRotary.at([ids, ids, ids]).keep(),
        window: cat([zeros([capacity], options), full([capacity], -Infinity, options)]).keep(),
        qkv: empty([numSlots, width], options).keep(),
        gateUp: empty([numSlots, 2 * intermediateSize], options).keep(),
        tapes: new Map<number, Tape>(),
      };
    });
  }

  #dropState(): void {
    const { tapes, input, rotary, window, qkv, gateUp } = this.#state;
    for (const tape of tapes.values()) tape.dispose();
    for (const own of [input, rotary, window, qkv, gateUp]) own.dispose();
  }

  /** Writes a step's integers to where its tape reads them. */
  #describe({ capacity, input, words }: StepState, step: DecodeInput): void {
    const { numSlots, numHeads } = this.cache;
    const numRows = numSlots * numHeads;
    for (let slot = 0; slot < numSlots; slot++) words[2 * slot] = step.tokens[slot];
    for (let row = 0, at = 2 * numSlots; row < numRows; row++, at += 2) {
      const slot = Math.trunc(row / numHeads);
      const length = step.lengths[slot];
      words[at] = row * capacity + length;
      words[at + 2 * numRows] = step.positions[slot];
      words[at + 4 * numRows] = capacity - 1 - length;
    }
    input.setBytes(words);
  }

  /** The operators of a step that attends to `attended` positions; logits [S, V]. */
  #step(state: StepState, attended: number): Tensor {
    const { language } = this.#model;
    const { numSlots, numHeads } = this.cache;
    const numRows = numSlots * numHeads;
    const [tokens, rows, positions, starts] = state.input.splitWithSizes(
      [numSlots, numRows, numRows, numRows],
      0,
    );
    const factors = state.rotary.indexSelect(0, positions).unsqueeze(1);
    const mask = state.window
      .asStrided([state.capacity, attended], [1, 1])
      .indexSelect(0, starts)
      .unsqueeze(1);
    let x = language.embedTokens.indexSelect(0, tokens);
    for (const [i, layer] of this.#fused.layers.entries())
      x = this.#decodeLayer(state, layer, i, x, { rows, factors, mask, attended });
    return this.#fused.logits(x);
  }

  #prefillLayer(
    layer: FusedLayer,
    index: number,
    x: Tensor,
    factors: Tensor,
    at: { slot: number; offset: number; mask: Tensor | undefined; last: boolean },
  ): Tensor {
    const { numHeads, numKeyValueHeads, headDim } = this.#model.config.text;
    const { cache } = this;
    const groups = numHeads / numKeyValueHeads;
    const length = x.shape[0];
    const end = at.offset + length;
    const qkv = layer.qkvBias
      .addmm(this.#fused.norm(x, layer.inputGain), layer.qkv)
      .view([length, numKeyValueHeads, groups + 2, headDim]);
    rotate_(qkv.narrow(2, 0, groups + 1), factors);
    // Each key-value head with its queries: [KV, G, T, D], [KV, T, D], [KV, T, D].
    const heads = qkv.permute([1, 2, 0, 3]);
    cache.slot(index, 0, at.slot, at.offset, length).copy_(heads.select(1, groups));
    cache.slot(index, 1, at.slot, at.offset, length).copy_(heads.select(1, groups + 1));
    let mixed = attention(
      heads.narrow(1, 0, groups),
      cache.slot(index, 0, at.slot, 0, end).unsqueeze(1),
      cache.slot(index, 1, at.slot, 0, end).unsqueeze(1),
      at.mask === undefined ? { isCausal: true } : { mask: at.mask },
    ).permute([2, 0, 1, 3]);
    let residual = x;
    if (at.last) {
      mixed = mixed.narrow(0, length - 1, 1);
      residual = x.narrow(0, length - 1, 1);
    }
    const attended = residual.addmm(mixed.reshape([-1, numHeads * headDim]), layer.o);
    return this.#fused.mlp(layer, attended);
  }

  #decodeLayer(
    state: StepState,
    layer: FusedLayer,
    index: number,
    x: Tensor,
    step: { rows: Tensor; factors: Tensor; mask: Tensor; attended: number },
  ): Tensor {
    const { numHeads, numKeyValueHeads, headDim } = this.#model.config.text;
    const groups = numHeads / numKeyValueHeads;
    layer.qkvBias.addmmOut(this.#fused.norm(x, layer.inputGain), layer.qkv, { out: state.qkv });
    const heads = state.qkv.view([-1, groups + 2, headDim]);
    rotate_(heads.narrow(1, 0, groups + 1), step.factors);
    this.cache.rows(index).indexCopy_(0, step.rows, heads.narrow(1, groups, 2));
    const mixed = this.#attendCached(index, heads.narrow(1, 0, groups), step);
    const attended = x.addmm(mixed.view([-1, numHeads * headDim]), layer.o);
    return this.#fused.mlp(layer, attended, state.gateUp);
  }

  /**
   * Attention of one query a head over the cache. The G query heads of a key-value head are the rows of
   * one small matrix. How many positions are attended to depends on the longest slot, so the products
   * must not round differently for more of them (weights beyond a slot's own end are exactly zero):
   * up to two rows hold that as they are, more are summed bucket by bucket.
   * @param queries [S · KV, G, D]
   * @returns [S · KV, G, D]
   */
  #attendCached(
    index: number,
    queries: Tensor,
    { mask, attended }: { mask: Tensor; attended: number },
  ): Tensor {
    const { cache } = this;
    const [, groups, headDim] = queries.shape;
    const size = groups <= 2 ? attended : cache.bucket;
    const keys = cache.all(index, 0, attended).transpose(1, 2);
    const values = cache.all(index, 1, attended);
    const alpha = headDim ** -0.5;
    if (size === attended) return mask.baddbmm(queries, keys, { alpha }).softmax(-1).bmm(values);
    const scores: Tensor[] = [];
    for (let start = 0; start < attended; start += size) {
      const part = keys.narrow(2, start, size);
      scores.push(mask.narrow(2, start, size).baddbmm(queries, part, { alpha }));
    }
    const weights = cat(scores, 2).softmax(-1);
    let mixed = weights.narrow(2, 0, size).bmm(values.narrow(1, 0, size));
    for (let start = size; start < attended; start += size)
      mixed = mixed.baddbmm(weights.narrow(2, start, size), values.narrow(1, start, size));
    return mixed;
  }
}
