/**
 * Generation on a KV cache with continuous batching. A slot is filled by `prefill` (also later on,
 * after a turn of the environment), shared by `copyPrefix`, and grows by `decode`, one token for each of
 * some slots a step. What a step computes for a slot does not depend, to the bit, on which others are
 * busy: in operators of our own every row is computed for itself, libtorch's always run all slots in the
 * same shapes. The operators are the same ones every time and are therefore recorded, once for each
 * shape, and run again from the tape. Sampling belongs to the engine.
 * Legend: N rows, S slots, T new positions, P positions of the cache, V vocabulary, H query heads,
 * KV key-value heads, G = H / KV, D head size.
 */
import { VigorlError } from "../core/errors.ts";
import type { Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import { hasVarlen } from "../torch/varlen.ts";
import type { Batch } from "./batch.ts";
import { FusedAttention } from "./cache-attention-fused.ts";
import { PlainAttention } from "./cache-attention-plain.ts";
import { RowAttention } from "./cache-attention-rows.ts";
import type { AttendLayer, CacheAttention, DecodeRow, DecodeStep } from "./cache-attention.ts";
import { DecodeTapes, DRAW_COLUMNS, type Decoded } from "./decode-tapes.ts";
import { HalfLanguage } from "./fused-half.ts";
import { PackedLanguage } from "./fused-packed.ts";
import { PlainLanguage } from "./fused-plain.ts";
import type { FusedLanguage } from "./fused.ts";
import { isDelta } from "./config.ts";
import { KvCache, type CacheForm } from "./kv-cache.ts";
import { DeltaStates, type MixLayer } from "./delta-states.ts";
import { withDeepstack, type Deepstack } from "./language.ts";
import { PrefillTapes } from "./prefill-tapes.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

export class Decoder {
  readonly cache: KvCache;
  /** Most rows of a step. */
  readonly numRows: number;
  /** See `FusedLanguage`. */
  readonly pieceLength: number | null;
  /** Whether `prefill` takes sequences of several slots at once. */
  readonly takesMany: boolean;
  /** Whether steps can draw what they decode, by `decodeDrawing`. */
  readonly draws: boolean;
  /** What delta nets carry slots on by, where the model has any. */
  readonly states: DeltaStates | undefined;
  readonly #model: VisionLanguageModel;
  readonly #fused: FusedLanguage;
  readonly #canTape: boolean;
  /** The copies of the weights are another decoder's, and keeping them fresh is its affair. */
  readonly #borrows: boolean;
  /** By layer, which of those with attention it is. */
  readonly #attentionIndex: readonly number[];
  /** Where libtorch's operators do the work: ours are few enough. */
  readonly #prompts: PrefillTapes | undefined;
  #tapes: DecodeTapes;

  constructor(
    model: VisionLanguageModel,
    options: {
      readonly numSlots: number;
      /** All slots, unless told otherwise; libtorch's operators always run all. */
      readonly numRows?: number;
      readonly maxPositions: number;
      /** See `KvOptions`. */
      readonly maxCells?: number;
      /** Places for states that are kept beside those of the slots; as many as slots where absent. */
      readonly keptStates?: number;
      /** Which operators do the work; chosen by dtype and device, unless told otherwise. */
      readonly form?: CacheForm;
      /** `weights` of another decoder of this model, whose copies serve both; taken over. */
      readonly weights?: Tensor;
      /** Packed weights take the place of the model's, which cannot change any more. */
      readonly replaces?: boolean;
    },
  ) {
    this.#model = model;
    const { dtype, device } = model;
    this.cache = new KvCache(model.config.text, { ...options, dtype, device });
    this.numRows = options.numRows ?? options.numSlots;
    const { form } = this.cache;
    const { text } = model.config;
    const { numSlots, keptStates: numKept = numSlots } = options;
    const { numRows } = this;
    this.states = text.delta && new DeltaStates(model, text.delta, { numSlots, numRows, numKept });
    let next = 0;
    this.#attentionIndex = Array.from({ length: text.numLayers }, (_, layer) =>
      isDelta(text, layer) ? -1 : next++,
    );
    this.draws = form === "packed" && model.config.text.experts === undefined;
    this.#fused = fusedLanguage(model, form, options);
    this.pieceLength = this.#fused.pieceLength;
    this.takesMany = form === "rows" || (form === "packed" && dtype === "float32");
    // The plain form of attention over rows asks the host how long they are.
    const { headDim } = model.config.text;
    this.#canTape = this.#fused.canTape && (form !== "rows" || hasVarlen(dtype, device, headDim));
    this.#borrows = options.weights !== undefined;
    this.refresh();
    // Experts of a prompt are found out while it runs.
    const isFixed = model.config.text.experts === undefined && this.states === undefined;
    if (form === "matrices" && isFixed)
      this.#prompts = new PrefillTapes(model, (x, attend) =>
        this.#prompt(x, this.#mixer(attend, false), lastRow),
      );
    this.#tapes = noGrad(() => this.#newTapes());
  }

  /** The decoder's own copies of the weights, one after another. */
  get weights(): Tensor {
    return this.#fused.block;
  }

  /** Takes over the model's present weights; call it after every optimizer step or load. */
  refresh(): void {
    if (!this.#borrows) this.#fused.refresh();
  }

  /**
   * Writes sequences into slots, each after the `offset` positions that its slot holds, and returns the
   * logits of their last positions, [sequences, V] (owned by the caller's scope).
   * @param where slot and offset of each; one, unless the decoder `takesMany`
   * @param batch planned with `starts`: the `next` of what came before each
   * @param features encoded images of the batch, where it has any
   */
  prefill(
    where: readonly { readonly slot: number; readonly offset: number }[],
    batch: Batch,
    features?: Tensor,
  ): Tensor {
    const { lengths } = batch;
    if (lengths.length !== where.length || (where.length > 1 && !this.takesMany))
      throw new Error(`${lengths.length} sequences for ${where.length} slots`);
    const places = where.map(({ slot, offset }, s) => ({ slot, offset, length: lengths[s] }));
    this.cache.checkRoom(Math.max(...places.map(({ offset, length }) => offset + length)));
    this.cache.willWrite(places.map(({ slot }) => slot));
    return noGrad(() =>
      scope(() => {
        const factors = this.#model.textRotary.at(batch.axes);
        const x = this.#wide(this.#model.embed(batch, features));
        const deep = this.#model.deepstack(batch, features);
        const deepstack = deep && { ...deep, levels: deep.levels.map((one) => this.#wide(one)) };
        const [{ slot, offset }] = places;
        const canTape = offset === 0 && deepstack === undefined;
        const taped = canTape ? this.#prompts?.run(x, factors) : undefined;
        if (taped !== undefined) {
          this.cache.write(slot, taped.keysValues);
          return taped.logits;
        }
        const attend = this.#present().attention.prefill(places, factors);
        const mix = this.#mixer(attend, false, this.states?.prefill(places));
        return this.#prompt(x, mix, lastRowsOf(lengths, x), deepstack);
      }),
    );
  }

  /**
   * Shares the first `length` positions of a slot with others.
   * @param kept where the state of delta nets after these positions was kept; that of the slot, which then
   *   holds no more, where absent
   */
  copyPrefix(from: number, to: readonly number[], length: number, kept?: number): void {
    this.cache.copyPrefix(from, to, length);
    if (length === 0) return;
    if (kept === undefined) this.states?.copy(from, to);
    else this.states?.restore(kept, to);
  }

  /**
   * How many positions of a prompt it is worth taking over from another one: on a fast device a short
   * prompt that runs from a tape takes no longer than the rest of it without.
   */
  mostReused(length: number): number {
    const { device, config } = this.#model;
    // Prompts with images run as they are where the tower adds to several layers.
    const canTape = device !== "cpu" && config.vision.deepstackBlocks.length === 0;
    return canTape && this.#prompts?.takes(length) === true ? 0 : length - 1;
  }

  /**
   * Stores a token each for some slots, each slot at most once, and returns the logits that follow them
   * (owned by the caller's scope).
   * @throws VigorlError "input" where a slot is full
   */
  decode(rows: readonly DecodeRow[]): Decoded {
    this.#checkRows(rows, 1);
    return noGrad(() => this.#describing(rows).logits(rows));
  }

  /**
   * Decodes as `decode` does and draws the tokens that follow; then the same for these, as many steps as
   * there are draws for. Only where the decoder `draws`.
   * @param draws [K, N, 5] by step and row, as `kernels.drawTokens` takes them, but for the first of the
   *   five, which is not read; K up to `MAX_STEPS`
   * @returns [K, N, 2]: tokens, −1 behind logits that are not finite, and their log-probabilities
   * @throws VigorlError "input" where a slot has no room for all steps
   */
  decodeDrawing(rows: readonly DecodeRow[], draws: Float64Array): Float64Array {
    this.#checkRows(rows, draws.length / (rows.length * DRAW_COLUMNS));
    return noGrad(() => this.#describing(rows).drawn(rows, draws));
  }

  dispose(): void {
    this.#tapes.dispose();
    this.#prompts?.dispose();
    this.cache.dispose();
    this.states?.dispose();
    this.#fused.dispose();
  }

  #checkRows(rows: readonly DecodeRow[], numSteps: number): void {
    if (rows.length === 0) throw new VigorlError("numerics", "decode: no slot is active");
    let longest = 0;
    for (const { length } of rows) longest = Math.max(longest, length);
    this.cache.checkRoom(longest + numSteps);
  }

  /** The tapes, with states told which slots the rows of their next step stand for. */
  #describing(rows: readonly DecodeRow[]): DecodeTapes {
    const tapes = this.#present();
    this.states?.describe(
      new Map(rows.map(({ slot }, i) => [tapes.attention.rowOf(rows, i), slot])),
    );
    return tapes;
  }

  /** The tapes that fit the cache as it is now. */
  #present(): DecodeTapes {
    if (this.#tapes.capacity !== this.cache.capacity) {
      this.#tapes.dispose();
      this.#tapes = this.#newTapes();
    }
    return this.#tapes;
  }

  #newTapes(): DecodeTapes {
    return scope(() => {
      // A recording runs what it records, and the run after it must begin where that began.
      const record = <T>(fn: () => T): T =>
        this.states === undefined ? fn() : this.states.aside(fn);
      const options = { numRows: this.numRows, canTape: this.#canTape, record };
      const attention = this.#newAttention();
      return new DecodeTapes(this.cache.capacity, attention, this.#step.bind(this), options);
    });
  }

  #newAttention(): CacheAttention {
    const { cache, numRows } = this;
    switch (cache.form) {
      case "packed":
        return new FusedAttention(this.#model, cache, numRows);
      case "rows":
        return new RowAttention(this.#model, cache, numRows);
      case "matrices":
        return new PlainAttention(this.#model, cache);
    }
  }

  /** What attention or a delta net of a layer makes of x [N, hidden]: [N, H · D]. */
  #mixer(
    attend: AttendLayer,
    step: boolean,
    mixStates?: MixLayer,
  ): (layer: number, x: Tensor) => Tensor {
    return (layer, x) => {
      const index = this.#attentionIndex[layer];
      if (index < 0) return mixStates!(layer, this.#fused.deltaInputs(layer, x));
      const mixed = attend(index, this.#fused.heads(layer, x, step));
      const gates = this.#fused.gates(layer, x);
      return gates === undefined ? mixed : mixed.mul(gates);
    };
  }

  /** All layers of new positions [T, hidden]; logits of those that `last` picks out. */
  #prompt(
    x: Tensor,
    mix: (layer: number, x: Tensor) => Tensor,
    last: (x: Tensor) => Tensor,
    deepstack?: Deepstack,
  ): Tensor {
    const { numLayers } = this.#model.config.text;
    // What is added after the last layer needs all of its rows.
    const lastAlone = (deepstack?.levels.length ?? 0) < numLayers;
    for (let layer = 0; layer < numLayers; layer++) {
      const input = x;
      x = scope(() => {
        const mixed = mix(layer, input);
        if (lastAlone && layer === numLayers - 1)
          return this.#rest(layer, last(mixed), last(input));
        return withDeepstack(this.#rest(layer, mixed, input), layer, deepstack);
      });
    }
    return this.#fused.logits(lastAlone ? x : last(x), false);
  }

  /** The operators of a step; its logits. */
  #step({ tokens, attend }: DecodeStep): Tensor {
    const mix = this.#mixer(attend, true, this.states?.step(tokens.size(0)));
    let x = this.#wide(this.#model.language.embedTokens.indexSelect(0, tokens));
    for (let layer = 0; layer < this.#model.config.text.numLayers; layer++)
      x = this.#fused.mlp(layer, this.#fused.output(layer, mix(layer, x), x, true), true);
    return this.#fused.logits(x, true);
  }

  /** What follows attention in a layer of a prompt. */
  #rest(layer: number, mixed: Tensor, residual: Tensor): Tensor {
    return this.#fused.mlp(layer, this.#fused.output(layer, mixed, residual, false), false);
  }

  /** Rows as our own operators take them, where they do the work. */
  #wide(x: Tensor): Tensor {
    return this.cache.form === "packed" ? x.to("float32") : x;
  }
}

function fusedLanguage(
  model: VisionLanguageModel,
  form: CacheForm,
  { weights, replaces }: { readonly weights?: Tensor; readonly replaces?: boolean },
): FusedLanguage {
  if (form !== "packed")
    return new PlainLanguage(model, form === "rows" ? "apart" : "grouped", weights);
  return model.dtype === "float32"
    ? new PackedLanguage(model, weights, replaces)
    : new HalfLanguage(model, weights);
}

function lastRow(x: Tensor): Tensor {
  return x.narrow(0, x.shape[0] - 1, 1);
}

/** Picks the last row of each sequence out of rows like `x`. */
function lastRowsOf(lengths: readonly number[], { device }: Tensor): (x: Tensor) => Tensor {
  if (lengths.length === 1) return lastRow;
  let end = 0;
  const rows = Int32Array.from(lengths, (length) => (end += length) - 1);
  const index = tensor(rows, { dtype: "int64", device });
  return (x) => x.indexSelect(0, index);
}
