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
import { ones, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { Tape } from "../torch/tape.ts";
import type { Batch } from "./batch.ts";
import { PackedLanguage } from "./fused-packed.ts";
import { PlainLanguage } from "./fused-plain.ts";
import { rotate_, type FusedLanguage } from "./fused.ts";
import { KvCache } from "./kv-cache.ts";
import type { Qwen25VL } from "./qwen2-5-vl.ts";
import { stepAttention, type DecodeInput, type StepAttention } from "./step-attention.ts";

/** What the tapes of one cache size share. */
interface StepState {
  readonly capacity: number;
  readonly attention: StepAttention;
  /** By the positions they attend to. */
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
      /** Whether operators of our own do the work; where they can, unless told otherwise. */
      readonly fused?: boolean;
      /** `weights` of another decoder of this model, whose copies serve both; taken over. */
      readonly weights?: Tensor;
    },
  ) {
    this.#model = model;
    const { dtype, device } = model;
    this.cache = new KvCache(model.config.text, { ...options, dtype, device });
    this.#fused = this.cache.fused
      ? new PackedLanguage(model, options.weights)
      : new PlainLanguage(model, options.weights);
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
        const { numLayers } = model.config.text;
        for (let layer = 0; layer < numLayers; layer++) {
          const last = layer === numLayers - 1;
          const input = x;
          x = scope(() => this.#prefillLayer(layer, input, factors, { slot, offset, mask, last }));
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
    return noGrad(() => {
      if (this.#state.capacity !== cache.capacity) {
        this.#dropState();
        this.#state = this.#newState();
      }
      const state = this.#state;
      state.attention.describe(input);
      const reach = state.attention.reach(longest);
      let tape = state.tapes.get(reach);
      if (tape === undefined) {
        tape = scope(() => new Tape(() => [this.#step(state, reach)]));
        state.tapes.set(reach, tape);
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
    return scope(() => ({
      capacity: this.cache.capacity,
      attention: stepAttention(this.#model, this.cache),
      tapes: new Map<number, Tape>(),
    }));
  }

  #dropState(): void {
    const { tapes, attention: attend } = this.#state;
    for (const own of [...tapes.values(), attend]) own.dispose();
  }

  /** The operators of a step; logits [S, V]. */
  #step({ attention: attend }: StepState, reach: number): Tensor {
    const attendLayer = attend.begin(reach);
    let x = this.#model.language.embedTokens.indexSelect(0, attend.tokens);
    for (let layer = 0; layer < this.#model.config.text.numLayers; layer++) {
      const mixed = attendLayer(layer, this.#fused.heads(layer, x));
      x = this.#fused.mlp(layer, this.#fused.output(layer, mixed, x));
    }
    return this.#fused.logits(x);
  }

  #prefillLayer(
    layer: number,
    x: Tensor,
    factors: Tensor,
    at: { slot: number; offset: number; mask: Tensor | undefined; last: boolean },
  ): Tensor {
    const { numHeads, numKeyValueHeads, headDim } = this.#model.config.text;
    const { cache } = this;
    const groups = numHeads / numKeyValueHeads;
    const length = x.shape[0];
    const end = at.offset + length;
    const qkv = this.#fused.heads(layer, x).view([length, numKeyValueHeads, groups + 2, headDim]);
    rotate_(qkv.narrow(2, 0, groups + 1), factors);
    // Each key-value head with its queries: [KV, G, T, D], [KV, T, D], [KV, T, D].
    const heads = qkv.permute([1, 2, 0, 3]);
    // What the slot holds from now on: what is new, after what it held before.
    const [keys, values] = (["keys", "values"] as const).map((part, i) => {
      const own = heads.select(1, groups + i);
      cache.slot(layer, part, at.slot, at.offset, length).copy_(own);
      return at.offset === 0 ? own : cache.slot(layer, part, at.slot, 0, end).contiguous();
    });
    let mixed = attention(
      heads.narrow(1, 0, groups),
      keys.unsqueeze(1),
      values.unsqueeze(1),
      at.mask === undefined ? { isCausal: true } : { mask: at.mask },
    ).permute([2, 0, 1, 3]);
    let residual = x;
    if (at.last) {
      mixed = mixed.narrow(0, length - 1, 1);
      residual = x.narrow(0, length - 1, 1);
    }
    const rows = mixed.reshape([-1, numHeads * headDim]);
    return this.#fused.mlp(layer, this.#fused.output(layer, rows, residual));
  }
}
