/**
 * Vision features by image hash. On a CPU every image goes through the tower alone, so that its features
 * have the same bits whichever images come with it; on other devices images of a request share a pass.
 * Once only until the weights of the tower change.
 */
import { patches, type ModelImage } from "../../image/model-image.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import { encodePixels } from "../../model/patches.ts";
import type { VisionLanguageModel } from "../../model/vision-language-model.ts";
import { TowerTapes } from "../../model/tower-tapes.ts";
import { dtypeBytes } from "../../torch/dtype.ts";
import { cat, type Tensor } from "../../torch/ops.ts";
import { noGrad, scope } from "../../torch/scope.ts";

/** Patches that share a pass of the tower. */
const MAX_PASS_PATCHES = 16_384;

export class FeatureCache {
  /** Images that went through the tower. */
  runs = 0;
  private readonly model: VisionLanguageModel;
  private readonly tower: TowerTapes;
  private readonly preprocessor: PreprocessorConfig;
  private readonly maxBytes: number;
  /** Least recently used first. */
  private readonly features = new Map<string, Tensor>();
  private bytes = 0;

  /** @param replaces packed weights of the tower take the place of the model's */
  constructor(
    model: VisionLanguageModel,
    preprocessor: PreprocessorConfig,
    maxBytes: number,
    replaces = false,
  ) {
    this.model = model;
    this.tower = new TowerTapes(model, replaces);
    this.preprocessor = preprocessor;
    this.maxBytes = maxBytes;
  }

  /**
   * Features of the images one after another, [Σ numTokens, hidden], without gradients; undefined for
   * none. Belongs to the caller's scope or to the cache: neither dispose nor change it.
   */
  take(images: readonly ModelImage[]): Tensor | undefined {
    if (images.length === 0) return undefined;
    if (this.model.device !== "cpu") this.encodeTogether(images);
    const parts = images.map((image) => this.lookUp(image));
    const joined = parts.length === 1 ? parts[0] : cat(parts, 0);
    this.trim(images.length);
    return joined;
  }

  /** Forgets all features: the tower's weights changed. */
  clear(): void {
    for (const tensor of this.features.values()) tensor.dispose();
    this.features.clear();
    this.bytes = 0;
    this.tower.weightsChanged();
  }

  dispose(): void {
    this.clear();
    this.tower.dispose();
  }

  private lookUp(image: ModelImage): Tensor {
    const found = this.features.get(image.hash);
    if (found === undefined)
      return this.add(
        image,
        scope(() => this.tower.encode(image, patches(image, this.preprocessor))),
      );
    this.features.delete(image.hash);
    this.features.set(image.hash, found);
    return found;
  }

  /** Encodes those that are not known and not small enough for a tape, some in a pass. */
  private encodeTogether(images: readonly ModelImage[]): void {
    const { model, preprocessor } = this;
    const unknown = new Map(images.map((image) => [image.hash, image]));
    for (const [hash, image] of unknown)
      if (this.features.has(hash) || this.tower.takes(image)) unknown.delete(hash);
    for (const some of passesOf([...unknown.values()]))
      scope(() => {
        const all = noGrad(() => encodePixels(model, some, preprocessor));
        const counts = some.map(({ numTokens }) => numTokens);
        // Copies, so that each is freed for itself.
        for (const [i, own] of all.splitWithSizes(counts, 0).entries())
          this.add(some[i], some.length === 1 ? own : own.clone());
      });
  }

  private add({ hash }: ModelImage, features: Tensor): Tensor {
    this.runs++;
    this.bytes += features.numel * dtypeBytes[features.dtype];
    this.features.set(hash, features.keep());
    return features;
  }

  /** Drops the oldest beyond the bound, but none of the `latest`. */
  private trim(latest: number): void {
    for (const [hash, tensor] of this.features) {
      if (this.bytes <= this.maxBytes || this.features.size <= latest) return;
      this.features.delete(hash);
      this.bytes -= tensor.numel * dtypeBytes[tensor.dtype];
      tensor.dispose();
    }
  }
}

/** Images one after another, as many in a pass as its patches allow. */
function passesOf(images: readonly ModelImage[]): ModelImage[][] {
  const passes: ModelImage[][] = [];
  let patchesSoFar = Infinity;
  for (const image of images) {
    const count = image.grid.h * image.grid.w;
    if (patchesSoFar + count > MAX_PASS_PATCHES) {
      passes.push([]);
      patchesSoFar = 0;
    }
    passes.at(-1)!.push(image);
    patchesSoFar += count;
  }
  return passes;
}
