/**
 * The vision tower for one image at a time, without gradients: on packed weights where operators of our
 * own take them, and for small images with its operators recorded once for each grid, because on a small
 * model the way to some hundred operators costs more than their arithmetic. Larger images, whose
 * arithmetic outweighs it, and grids beyond the first few run as they are.
 */
import { hasKernelsFor } from "../torch/kernels.ts";
import { empty, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { Tape } from "../torch/tape.ts";
import { tensor } from "../torch/tensor.ts";
import type { ImageRef } from "./batch.ts";
import { patchDim } from "./config.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";
import { PackedTower } from "./vision-packed.ts";

const MAX_PATCHES = 256;
const MAX_TAPES = 16;

interface Recorded {
  /** [P, patchDim]. */
  readonly patches: Tensor;
  readonly tape: Tape;
}

export class TowerTapes {
  readonly #model: VisionLanguageModel;
  readonly #packed: PackedTower | undefined;
  readonly #byGrid = new Map<string, Recorded>();
  #stale = false;

  /** @param replaces packed weights take the place of the model's, which cannot change any more */
  constructor(model: VisionLanguageModel, replaces = false) {
    this.#model = model;
    if (hasKernelsFor(model.dtype, model.device)) this.#packed = new PackedTower(model, replaces);
  }

  /** Says that the tower's weights have changed; they are taken over when they are next needed. */
  weightsChanged(): void {
    this.#stale = true;
  }

  /** Whether an image of this grid runs from a tape. */
  takes({ grid: { t, h, w } }: ImageRef): boolean {
    const isKnown = this.#byGrid.has(`${t},${h},${w}`);
    return isKnown || (t * h * w <= MAX_PATCHES && this.#byGrid.size < MAX_TAPES);
  }

  /**
   * Features of one image.
   * @param patches [P, patchDim], as the processor makes them
   * @returns [numTokens, hidden], owned by the caller's scope
   */
  encode(image: ImageRef, patches: Float32Array): Tensor {
    const { t, h, w } = image.grid;
    const key = `${t},${h},${w}`;
    if (this.#stale) this.#packed?.refresh();
    this.#stale = false;
    return noGrad(() => {
      let recorded = this.#byGrid.get(key);
      if (recorded === undefined) {
        if (!this.takes(image)) return this.#run(tensor(patches, this.#options(image)), image);
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
    this.#packed?.dispose();
  }

  #record(image: ImageRef): Recorded {
    const { shape, device } = this.#options(image);
    const patches = scope(() => empty(shape, { device }).zero_()).keep();
    const tape = scope(() => new Tape(() => [this.#run(patches, image)]));
    return { patches, tape };
  }

  #run(patches: Tensor, { grid }: ImageRef): Tensor {
    return this.#model.encodePatches(patches, [grid], this.#packed);
  }

  #options({ grid }: ImageRef) {
    const { config, device } = this.#model;
    return { shape: [grid.t * grid.h * grid.w, patchDim(config.vision)], device };
  }
}
