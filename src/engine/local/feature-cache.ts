/**
 * Vision features by image hash. Every image goes through the tower alone, so that its features have
 * the same bits whichever images come with it, and once only until the weights of the tower change.
 */
import { patches, type ModelImage } from "../../image/model-image.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import type { VisionLanguageModel } from "../../model/vision-language-model.ts";
import { TowerTapes } from "../../model/tower-tapes.ts";
import { cat, type Tensor } from "../../torch/ops.ts";
import { scope } from "../../torch/scope.ts";

const BYTES_PER_ELEMENT = 4;

export class FeatureCache {
  /** Images that went through the tower. */
  runs = 0;
  private readonly tower: TowerTapes;
  private readonly preprocessor: PreprocessorConfig;
  private readonly maxBytes: number;
  /** Least recently used first. */
  private readonly features = new Map<string, Tensor>();
  private bytes = 0;

  constructor(model: VisionLanguageModel, preprocessor: PreprocessorConfig, maxBytes: number) {
    this.tower = new TowerTapes(model);
    this.preprocessor = preprocessor;
    this.maxBytes = maxBytes;
  }

  /**
   * Features of the images one after another, [Σ numTokens, hidden], without gradients; undefined for
   * none. Belongs to the caller's scope or to the cache: neither dispose nor change it.
   */
  take(images: readonly ModelImage[]): Tensor | undefined {
    if (images.length === 0) return undefined;
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
    let found = this.features.get(image.hash);
    if (found === undefined) {
      found = scope(() => this.tower.encode(image, patches(image, this.preprocessor))).keep();
      this.runs++;
      this.bytes += found.numel * BYTES_PER_ELEMENT;
    } else {
      this.features.delete(image.hash);
    }
    this.features.set(image.hash, found);
    return found;
  }

  /** Drops the oldest beyond the bound, but none of the `latest`. */
  private trim(latest: number): void {
    for (const [hash, tensor] of this.features) {
      if (this.bytes <= this.maxBytes || this.features.size <= latest) return;
      this.features.delete(hash);
      this.bytes -= tensor.numel * BYTES_PER_ELEMENT;
      tensor.dispose();
    }
  }
}
