/**
 * A model folder opened for sampling and learning: the policy, its decoder and features, the frozen
 * reference, the optimizer. Everything here lives in the first worker thread.
 */
import { VigorlError } from "../../core/errors.ts";
import { deriveSeed } from "../../core/random.ts";
import type { Factors } from "../../model/adapter.ts";
import { loadModelFolder, saveModelFolder } from "../../model/folder.ts";
import type { Parameters } from "../../model/parameters.ts";
import type { VisionLanguageModel } from "../../model/vision-language-model.ts";
import { offerTensor } from "../../torch/share.ts";
import type {
  Capabilities,
  Datum,
  DatumOutput,
  ForwardOptions,
  Loss,
  OptimOutput,
  OptimParams,
  StepOutput,
} from "../types.ts";
import { FeatureCache } from "./feature-cache.ts";
import { forward, forwardBackward, type LearnerSettings, type Sighted } from "./learner.ts";
import { LocalAdapter } from "./local-adapter.ts";
import { Optimizer } from "./optimizer.ts";
import { localCapabilities, samplingCapabilities } from "./capabilities.ts";
import type { Share, WorkerOptions } from "./protocol.ts";
import { LOGITS_BYTES } from "./sizes.ts";
import { openSampling, useThreads, type SamplingModel } from "./sampling.ts";

/**
 * Loads weights, tokenizer and preprocessor settings.
 * @throws VigorlError "input" for a folder that is not a model folder
 */
export async function openLocalModel(folder: string, options: WorkerOptions): Promise<LocalModel> {
  const { device, dtype, threads } = options;
  useThreads(threads);
  const model = await loadModelFolder(folder, { device, dtype });
  const adapter = await LocalAdapter.open(folder, model, options);
  return new LocalModel(await openSampling(folder, model, options), options, adapter);
}

export class LocalModel {
  readonly capabilities: Capabilities;
  readonly forSampling: SamplingModel;
  private readonly policy: Sighted;
  private readonly adapter: LocalAdapter | null;
  private reference: Reference | null = null;
  private readonly optimizer: Optimizer;
  private readonly settings: LearnerSettings;
  /** Calls of `forwardBackward` since the last step. */
  private numPasses = 0;
  private readonly featureBytes: number;
  private readonly learns: boolean;
  private readonly numConsumers: number;

  /** Takes ownership of the model. */
  constructor(sampling: SamplingModel, options: WorkerOptions, adapter: LocalAdapter | null) {
    const { model, features, preprocessor, maxPositions } = sampling;
    this.forSampling = sampling;
    this.featureBytes = options.featureBytes;
    this.adapter = adapter;
    const trainable = options.trainable ?? "all";
    const freezesTower = adapter !== null && !adapter.adapter.sees;
    this.settings = {
      trainable: freezesTower ? "language" : trainable,
      tokensPerMicroBatch: options.tokensPerMicroBatch,
      logitsBytes: options.logitsBytes ?? LOGITS_BYTES[options.device === "cpu" ? "cpu" : "gpu"],
      recompute: options.gradientCheckpointing ?? false,
      preprocessor,
    };
    this.policy = { model, features };
    this.learns = options.learns ?? true;
    const trained = (): Parameters =>
      adapter === null ? model.setTrainable(trainable) : adapter.adapter.setTrainable(model);
    this.optimizer = new Optimizer(this.learns ? trained() : new Map());
    this.numConsumers = options.samplers - 1;
    const can = this.learns ? localCapabilities : samplingCapabilities;
    this.capabilities = { name: "local", ...can, maxPositions };
  }

  /** Offers the weights to the other workers that are to sample; null where there are none. */
  share(): Share | null {
    const consumers = this.numConsumers;
    if (consumers === 0) return null;
    const { config, params } = this.policy.model;
    const decoderWeights = offerTensor(this.forSampling.decoder.weights, consumers);
    const own = this.adapter?.adapter;
    const adapter =
      own === undefined ? null : { ranks: own.ranks, tensors: offered(own.params, consumers) };
    return { consumers, config, tensors: offered(params, consumers), decoderWeights, adapter };
  }

  forward(data: readonly Datum[], options: ForwardOptions): DatumOutput[] {
    this.requireLearning("forward");
    const run = (weights: Sighted) => forward(weights, data, options, this.settings);
    if (options.weights !== "reference") return run(this.policy);
    if (this.reference === null)
      throw new VigorlError("usage", "forward: there is no reference yet", {
        hint: "call setReference first",
      });
    const { reference } = this;
    if (reference.factors === undefined || this.adapter === null) return run(reference);
    return this.adapter.adapter.during(reference.factors, () => run(reference));
  }

  forwardBackward(data: readonly Datum[], loss: Loss): StepOutput {
    this.requireLearning("forwardBackward");
    const { gradients, weightsVersion } = this.optimizer;
    const run = () =>
      forwardBackward(this.policy, data, loss, this.settings, () => gradients.collect());
    const lora = this.adapter?.lora;
    if (this.adapter === null || lora === undefined) return run();
    const seed = deriveSeed(lora.seed, "dropout", weightsVersion, this.numPasses++);
    return this.adapter.adapter.dropping(lora.dropout, seed, run);
  }

  optimStep(params: OptimParams): OptimOutput {
    this.requireLearning("optimStep");
    this.numPasses = 0;
    const gradNorm = this.optimizer.step(params);
    if (this.settings.trainable === "all") this.policy.features.clear();
    return { gradNorm, weightsVersion: this.optimizer.weightsVersion };
  }

  setReference(): void {
    this.requireLearning("setReference");
    const before = this.reference;
    if (this.adapter === null) {
      const model = this.policy.model.clone();
      this.reference = { model, features: this.featuresOf(model) };
    } else {
      const { adapter } = this.adapter;
      const { model } = this.policy;
      const factors = adapter.snapshot();
      const features = adapter.during(factors, () => this.featuresOf(model));
      this.reference = { model, features, factors };
    }
    if (before !== null) this.drop(before);
  }

  async save(folder: string, optimizer: boolean): Promise<void> {
    this.requireLearning("save");
    const extra = optimizer ? (beside: string) => this.optimizer.save(beside) : undefined;
    if (this.adapter !== null) await this.adapter.save(folder, extra);
    else await saveModelFolder(this.policy.model, folder, { extra });
  }

  /** Returns the number of optimizer steps that the loaded weights have seen: 0 without its state. */
  async load(folder: string, optimizer: boolean): Promise<number> {
    this.requireLearning("load");
    await (this.adapter === null ? this.loadWeights(folder) : this.adapter.load(folder));
    const { features } = this.policy;
    if (this.adapter?.adapter.sees !== false) features.clear();
    if (optimizer) await this.optimizer.load(folder);
    else this.optimizer.reset();
    return this.optimizer.weightsVersion;
  }

  dispose(): void {
    if (this.reference !== null) this.drop(this.reference);
    this.policy.features.dispose();
    this.optimizer.reset();
    this.forSampling.decoder.dispose();
    this.policy.model.dispose();
  }

  private requireLearning(call: string): void {
    if (!this.learns) throw new VigorlError("usage", `${call}: this engine was opened to sample`);
  }

  private async loadWeights(folder: string): Promise<void> {
    const { model, features } = this.policy;
    const loaded = await loadModelFolder(folder, { device: model.device, dtype: model.dtype });
    try {
      model.copyFrom(loaded.params);
    } finally {
      loaded.dispose();
    }
    if (this.reference?.features !== features) return;
    const frozen = this.reference.model;
    const own = new FeatureCache(frozen, this.settings.preprocessor, this.featureBytes);
    this.reference = { ...this.reference, features: own };
  }

  /** A frozen tower gives a reference the same features. */
  private featuresOf(model: VisionLanguageModel): FeatureCache {
    if (this.settings.trainable === "language") return this.policy.features;
    return new FeatureCache(model, this.settings.preprocessor, this.featureBytes);
  }

  private drop({ model, features, factors }: Reference): void {
    if (features !== this.policy.features) features.dispose();
    if (model !== this.policy.model) model.dispose();
    for (const { a, b } of factors?.values() ?? []) for (const part of [a, b]) part.dispose();
  }
}

/** Frozen weights: another model, or the policy's own with its adapter as it was. */
interface Reference extends Sighted {
  /** Null: none, the adapter is off. */
  readonly factors?: ReadonlyMap<string, Factors> | null;
}

/** Tensors offered to other workers, by name. */
function offered(tensors: Parameters, consumers: number): Map<string, number> {
  return new Map([...tensors].map(([name, one]) => [name, offerTensor(one, consumers)]));
}
