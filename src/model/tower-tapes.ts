/**
 * The vision tower for one small image at a time, its operators recorded once for each grid: on a
 * small model the way to some hundred operators costs more than their arithmetic. Larger images, whose
 * arithmetic outweighs it, and grids beyond the first few run as they are.
 */
import { empty, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { Tape } from "../torch/tape.ts";
import type { ImageRef } from "./batch.ts";
import { patchDim } from "./config.ts";
import type { Qwen25VL } from "./qwen2-5-vl.ts";

const MAX_PATCHES = 256;
const MAX_TAPES = 16;

interface Recorded {
  /** [P, patchDim]. */
  readonly patches: Tensor;
  readonly tape: Tape;
}

export class TowerTapes {
  readonly #model: Qwen25VL;
  readonly #byGrid = new Map<string, Recorded>();

  constructor(model: Qwen25VL) {
    this.#model = model;
  }

  /**
   * Features of one image under the present weights, without gradients.
   * @param patches [P, patchDim], as the processor makes them
   * @returns [numTokens, hidden], owned by the caller's scope
   */
  encode(image: ImageRef, patches: Float32Array): Tensor {
    const { t, h, w } = image.grid;
    const key = `${t},${h},${w}`;
    return noGrad(() => {
      let recorded = this.#byGrid.get(key);
      if (recorded === undefined) {
        if (t * h * w > MAX_PATCHES || this.#byGrid.size >= MAX_TAPES)
          return this.#model.encodeImages([image], () => patches);
        recorded = this.#record(image);
        this.#byGrid.set(key, recorded);
      }
      recorded.patches.setBytes(patches);
      return recorded.tape.run()[0];
    });
  }

  dispose(): void {
    for (const { patches, tape } of this.#byGrid.values()) {
      tape.dispose();
      patches.dispose();
    }
    this.#byGrid.clear();
  }

  #record({ grid }: ImageRef): Recorded {
    const model = this.#model;
    const shape = [grid.t * grid.h * grid.w, patchDim(model.config.vision)];
    const patches = scope(() => empty(shape, { device: model.device }).zero_()).keep();
    const tape = scope(() => new Tape(() => [model.encodePatches(patches, [grid])]));
    return { patches, tape };
  }
}
