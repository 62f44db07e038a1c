/**
 * Generation on a KV cache with continuous batching. A slot is filled by `prefill` (also later on,
 * after a turn of the environment), shared by `copyPrefix`, and grows by `decode`, one token for every
 * slot a step. A step always runs all slots in the same shapes, idle ones included, so that what a slot
 * computes does not depend, to the bit, on which others are busy. Sampling belongs to the engine.
 * Legend: S slots, T new positions, L positions attended to, V vocabulary, H query heads,
 * KV key-value heads, G = H / KV, D head size.
 */
import { VigorlError } from "../core/errors.ts";
import { attention, linear, rmsNorm } from "../torch/nn.ts";
import { cat, embedding, ones, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import { rotate } from "./attention.ts";
import type { Batch } from "./batch.ts";
import { KvCache } from "./kv-cache.ts";
import { fusedProjection } from "./language.ts";
import type { Qwen25VL } from "./qwen2-5-vl.ts";
import type { RotaryFactors } from "./rotary.ts";

interface FusedLayer {
  readonly inputNorm: Tensor;
  readonly qkv: Tensor;
  readonly qkvBias: Tensor;
  /** Transposed view. */
  readonly o: Tensor;
  readonly postNorm: Tensor;
  readonly gateUp: Tensor;
  /** Transposed view. */
  readonly down: Tensor;
}

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

export class Decoder {
  readonly cache: KvCache;
  readonly #model: Qwen25VL;
  #fused: FusedLayer[] = [];

  constructor(
    model: Qwen25VL,
    options: { readonly numSlots: number; readonly maxPositions: number },
  ) {
    this.#model = model;
    const { dtype, device } = model;
    this.cache = new KvCache(model.config.text, { ...options, dtype, device });
    this.refresh();
  }

  /** Takes over the model's present weights; call it after every optimiser step or load. */
  refresh(): void {
    this.#release();
    this.#fused = noGrad(() =>
      scope(() =>
        this.#model.language.layers.map((layer) => {
          const { weight, bias } = fusedProjection(layer);
          return {
            inputNorm: layer.inputNorm,
            qkv: weight.keep(),
            qkvBias: bias.keep(),
            o: layer.o.weight.t().keep(),
            postNorm: layer.postNorm,
            gateUp: cat([layer.gate.weight, layer.up.weight], 0).keep(),
            down: layer.down.weight.t().keep(),
          };
        }),
      ),
    );
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
        const factors = model.textRotary.at(batch.axes);
        const mask =
          offset === 0
            ? undefined
            : ones([length, offset + length], { dtype: "bool", device: model.device }).tril(offset);
        for (const [i, layer] of this.#fused.entries()) {
          const last = i === this.#fused.length - 1;
          const input = x;
          x = scope(() =>
            this.#prefillLayer(layer, i, input, factors, { slot, offset, mask, last }),
          );
        }
        return model.logits(rmsNorm(x, model.language.norm, model.config.text.rmsNormEps));
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
    return noGrad(() =>
      scope(() => {
        const model = this.#model;
        const { device } = model;
        const { numKeyValueHeads, rmsNormEps } = model.config.text;
        const tokens = tensor(input.tokens, { dtype: "int64", device });
        const rows = tensor(cache.writeRows(input.lengths), { dtype: "int64", device });
        const mask = tensor(lengthMask(input.lengths, numKeyValueHeads, attended), {
          shape: [cache.numSlots * numKeyValueHeads, 1, attended],
          device,
        }).to(model.dtype);
        const positions = input.positions;
        const factors = model.textRotary.at([positions, positions, positions]);
        let x = embedding(model.language.embedTokens, tokens);
        for (const [i, layer] of this.#fused.entries())
          x = scope(() => this.#decodeLayer(layer, i, x, factors, { rows, mask, attended }));
        return model.logits(rmsNorm(x, model.language.norm, rmsNormEps));
      }),
    );
  }

  dispose(): void {
    this.cache.dispose();
    this.#release();
  }

  #release(): void {
    for (const { qkv, qkvBias, o, gateUp, down } of this.#fused)
      for (const own of [qkv, qkvBias, o, gateUp, down]) own.dispose();
    this.#fused = [];
  }

  #prefillLayer(
    layer: FusedLayer,
    index: number,
    x: Tensor,
    factors: RotaryFactors,
    at: { slot: number; offset: number; mask: Tensor | undefined; last: boolean },
  ): Tensor {
    const { numHeads, numKeyValueHeads, headDim, rmsNormEps } = this.#model.config.text;
    const { cache } = this;
    const length = x.shape[0];
    const end = at.offset + length;
    const [queriesKeys, values] = linear(
      rmsNorm(x, layer.inputNorm, rmsNormEps),
      layer.qkv,
      layer.qkvBias,
    )
      .view([length, numHeads + 2 * numKeyValueHeads, headDim])
      .splitWithSizes([numHeads + numKeyValueHeads, numKeyValueHeads], 1);
    const [queries, keys] = rotate(queriesKeys, factors)
      .transpose(0, 1)
      .splitWithSizes([numHeads, numKeyValueHeads], 0);
    cache.slot(index, 0, at.slot, at.offset, length).copy_(keys);
    cache.slot(index, 1, at.slot, at.offset, length).copy_(values.transpose(0, 1));
    let mixed = attention(
      queries.unsqueeze(0),
      cache.slot(index, 0, at.slot, 0, end).unsqueeze(0),
      cache.slot(index, 1, at.slot, 0, end).unsqueeze(0),
      at.mask === undefined ? { isCausal: true } : { mask: at.mask },
    )
      .transpose(1, 2)
      .reshape([length, numHeads * headDim]);
    let residual = x;
    if (at.last) {
      mixed = mixed.narrow(0, length - 1, 1);
      residual = x.narrow(0, length - 1, 1);
    }
    return this.#finish(layer, residual, mixed);
  }

  #decodeLayer(
    layer: FusedLayer,
    index: number,
    x: Tensor,
    factors: RotaryFactors,
    step: { rows: Tensor; mask: Tensor; attended: number },
  ): Tensor {
    const { numHeads, numKeyValueHeads, headDim, rmsNormEps } = this.#model.config.text;
    const { cache } = this;
    const groups = numHeads / numKeyValueHeads;
    const numRows = cache.numSlots * numKeyValueHeads;
    const [queriesKeys, values] = linear(
      rmsNorm(x, layer.inputNorm, rmsNormEps),
      layer.qkv,
      layer.qkvBias,
    )
      .view([-1, numHeads + 2 * numKeyValueHeads, headDim])
      .splitWithSizes([numHeads + numKeyValueHeads, numKeyValueHeads], 1);
    const [queries, keys] = rotate(queriesKeys, factors).splitWithSizes(
      [numHeads, numKeyValueHeads],
      1,
    );
    const written = cat([keys, values], 1).view([-1, headDim]);
    cache.layers[index].view([-1, headDim]).indexCopy_(0, step.rows, written);
    const mixed = this.#attendCached(index, queries.reshape([numRows, groups, headDim]), step);
    return this.#finish(layer, x, mixed.view([-1, numHeads * headDim]));
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

  #finish(layer: FusedLayer, residual: Tensor, mixed: Tensor): Tensor {
    const { rmsNormEps } = this.#model.config.text;
    const attended = residual.addmm(mixed, layer.o);
    const inner = rmsNorm(attended, layer.postNorm, rmsNormEps);
    const [gate, up] = linear(inner, layer.gateUp).chunk(2, -1);
    return attended.addmm(gate.silu_().mul_(up), layer.down);
  }
}

/** 0 for the positions a slot may look at (its new one included), -Infinity beyond; [S · KV · L]. */
function lengthMask(lengths: Int32Array, numHeads: number, attended: number): Float32Array {
  const mask = new Float32Array(lengths.length * numHeads * attended);
  for (let slot = 0; slot < lengths.length; slot++) {
    const first = slot * numHeads * attended;
    for (let head = 0; head < numHeads; head++) {
      const row = first + head * attended;
      const visible = Math.min(lengths[slot] + 1, attended);
      mask.fill(-Infinity, row + visible, row + attended);
    }
  }
  return mask;
}
