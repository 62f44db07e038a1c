/**
 * Prefill of short prompts in libtorch's operators from a tape, recorded once for each length: on a fast
 * device the way to a thousand operators costs more than their arithmetic. Longer prompts, and lengths
 * beyond the first many, run as they are.
 * Legend: T positions, C hidden size, N layers, KV key-value heads, D head size, V vocabulary.
 */
import { empty, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { Tape } from "../torch/tape.ts";
import type { AttendLayer } from "./cache-attention.ts";
import { attendPrompt } from "./cache-attention-plain.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

const MAX_POSITIONS = 256;
const MAX_TAPES = 64;

/** All layers of a prompt [T, C], given its attention; logits of the last position, [1, V]. */
export type PromptLayers = (x: Tensor, attend: AttendLayer) => Tensor;

interface Recorded {
  readonly x: Tensor;
  readonly factors: Tensor;
  /** [N, 2, KV, T, D], keys first. */
  readonly keysValues: Tensor;
  readonly tape: Tape;
}

export class PrefillTapes {
  readonly #model: VisionLanguageModel;
  readonly #layers: PromptLayers;
  readonly #byLength = new Map<number, Recorded>();
  /** Lengths that came once: only what comes again is worth a tape. */
  readonly #seen = new Set<number>();

  constructor(model: VisionLanguageModel, layers: PromptLayers) {
    this.#model = model;
    this.#layers = layers;
  }

  /** Whether prompts of this length run from a tape, now or once they have come often enough. */
  takes(length: number): boolean {
    const mayRecord = length <= MAX_POSITIONS && this.#byLength.size < MAX_TAPES;
    return mayRecord || this.#byLength.has(length);
  }

  /**
   * Runs the layers from a tape, if there is or should be one for this length.
   * @returns logits [1, V], owned by the caller's scope, and keys and values [N, 2, KV, T, D], which the
   *   next run overwrites
   */
  run(x: Tensor, factors: Tensor): { logits: Tensor; keysValues: Tensor } | undefined {
    const length = x.size(0);
    let recorded = this.#byLength.get(length);
    if (recorded === undefined) {
      if (!this.takes(length)) return undefined;
      if (!this.#seen.has(length)) {
        this.#seen.add(length);
        return undefined;
      }
      recorded = this.#record(x, factors);
      this.#byLength.set(length, recorded);
    }
    recorded.x.copy_(x);
    recorded.factors.copy_(factors);
    const [logits] = recorded.tape.run();
    return { logits, keysValues: recorded.keysValues };
  }

  dispose(): void {
    for (const recorded of this.#byLength.values())
      for (const own of Object.values(recorded)) own.dispose();
    this.#byLength.clear();
  }

  #record(likeX: Tensor, likeFactors: Tensor): Recorded {
    const { numLayers, numKeyValueHeads, headDim } = this.#model.config.text;
    const { dtype, device } = this.#model;
    const shape = [numLayers, 2, numKeyValueHeads, likeX.size(0), headDim];
    return scope(() => {
      const x = likeX.clone().keep();
      const factors = likeFactors.clone().keep();
      const keysValues = empty(shape, { dtype, device }).keep();
      const tape = new Tape(() => {
        const attend = attendPrompt(this.#model.config.text, factors, 0, (layer, fresh) => {
          for (const [i, part] of fresh.entries())
            keysValues.select(0, layer).select(0, i).copy_(part);
          return fresh;
        });
        return [this.#layers(x, attend)];
      });
      return { x, factors, keysValues, tape };
    });
  }
}
