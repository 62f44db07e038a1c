/**
 * The adapter of a local engine: read from a folder or begun, trained in place of the weights, saved in
 * peft's layout. The base is never written to, and is the reference with the adapter as it was.
 */
import { VigorlError } from "../../core/errors.ts";
import {
  copyAdapter,
  layerPaths,
  loadAdapter,
  requireSameLayers,
  saveAdapterFolder,
} from "../../model/adapter-folder.ts";
import { readAdapterConfig, type AdapterConfig } from "../../model/adapter-config.ts";
import { chooseLayers, initAdapter, type Adapter, type LayerRank } from "../../model/adapter.ts";
import { isVision } from "../../model/parameters.ts";
import type { VisionLanguageModel } from "../../model/vision-language-model.ts";
import type { LoraStart } from "../lora.ts";
import type { WorkerOptions } from "./protocol.ts";

export class LocalAdapter {
  readonly adapter: Adapter;
  /** Set where it is trained. */
  readonly lora: LoraStart | undefined;
  readonly #model: VisionLanguageModel;
  readonly #config: AdapterConfig;

  private constructor(
    model: VisionLanguageModel,
    adapter: Adapter,
    config: AdapterConfig,
    lora?: LoraStart,
  ) {
    model.adapter = adapter;
    this.adapter = adapter;
    this.lora = lora;
    this.#model = model;
    this.#config = config;
  }

  /**
   * The adapter that the options name or begin, in the model's layers; null for none.
   * @param base folder of the model
   */
  static async open(
    base: string,
    model: VisionLanguageModel,
    { adapter: folder, lora, trainable = "all" }: WorkerOptions,
  ): Promise<LocalAdapter | null> {
    const wanted = lora && ranksOf(model, lora, trainable);
    if (folder !== undefined) {
      const adapter = await loadAdapter(model, folder);
      try {
        if (wanted !== undefined) requireSameLayers(wanted, adapter.ranks, folder);
      } catch (error) {
        adapter.dispose();
        throw error;
      }
      return new LocalAdapter(model, adapter, { ...readAdapterConfig(folder), base }, lora);
    }
    if (lora === undefined || wanted === undefined) return null;
    const { rank, alpha, rslora, dropout, seed } = lora;
    const config = { base, rank, alpha, rslora, dropout, rankPattern: {}, alphaPattern: {} };
    return new LocalAdapter(model, initAdapter(model, wanted, seed), config, lora);
  }

  save(folder: string, extra?: (folder: string) => Promise<void>): Promise<void> {
    return saveAdapterFolder(this.#model, this.adapter, folder, this.#config, extra);
  }

  load(folder: string): Promise<void> {
    return copyAdapter(this.#model, this.adapter, folder);
  }
}

function ranksOf(
  model: VisionLanguageModel,
  lora: LoraStart,
  trainable: "all" | "language",
): Map<string, LayerRank> {
  const paths = layerPaths(model, (module) => trainable === "all" || !isVision(module));
  if (paths.size === 0)
    throw new VigorlError("usage", "lora: the model has no linear layer that may be trained");
  const { rank, alpha, rslora } = lora;
  const scale = alpha / (rslora ? Math.sqrt(rank) : rank);
  return new Map(chooseLayers(paths, lora).map((module) => [module, { rank, scale }]));
}
