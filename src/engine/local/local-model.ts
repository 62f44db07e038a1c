/**
 * A model folder opened for sampling and learning: the policy, its decoder and features, the frozen
 * reference, the optimizer. Everything here lives in the first worker thread.
 */
import { VigorlError } from "../../core/errors.ts";
import { loadModelFolder, saveModelFolder } from "../../model/folder.ts";
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
import { Optimizer } from "./optimizer.ts";
import { localCapabilities } from "./capabilities.ts";
import type { Share, WorkerOptions } from "./protocol.ts";
import { openSampling, useThreads, type SamplingModel } from "./sampling.ts";

/** Wider blocks keep a GPU busy, and add to the head's gradient less often. */
const LOGITS_BYTES = { cpu: 2 ** 29, gpu: 2 ** 31 };

/**
 * Loads weights, tokenizer and preprocessor settings.
 * @throws VigorlError "input" for a folder that is not a model folder
 */
export async function openLocalModel(folder: string, options: WorkerOptions): Promise<LocalModel> {
  const { device, dtype, threads } = options;
  useThreads(threads);
  const model = await loadModelFolder(folder, { device, dtype });
  return new LocalModel(await openSampling(folder, model, options), options);
}

export class LocalModel {
  readonly capabilities: Capabilities;
  readonly forSampling: SamplingModel;
  private readonly policy: Sighted;
  private reference: Sighted | null = null;
  private readonly optimizer: Optimizer;
  private readonly settings: LearnerSettings;
  private readonly featureBytes: number;
  private readonly numConsumers: number;

  /** Takes ownership of the model. */
  constructor(sampling: SamplingModel, options: WorkerOptions) {
    const { model, features, preprocessor, maxPositions } = sampling;
    this.forSampling = sampling;
    this.featureBytes = options.featureBytes;
    this.settings = {
      trainable: options.trainable ?? "all",
      tokensPerMicroBatch: options.tokensPerMicroBatch,
      logitsBytes: options.logitsBytes ?? LOGITS_BYTES[options.device === "cpu" ? "cpu" : "gpu"],
      preprocessor,
    };
    this.policy = { model, features };
    this.optimizer = new Optimizer(model.setTrainable(this.settings.trainable));
    this.numConsumers = options.samplers - 1;
    this.capabilities = { name: "local", ...localCapabilities, maxPositions };
  }

  /** Offers the weights to the other workers that are to sample; null where there are none. */
  share(): Share | null {
    const consumers = this.numConsumers;
    if (consumers === 0) return null;
    const { config, params } = this.policy.model;
    const tensors = new Map(
      [...params].map(([name, parameter]) => [name, offerTensor(parameter, consumers)]),
    );
    const decoderWeights = offerTensor(this.forSampling.decoder.weights, consumers);
    return { consumers, config, tensors, decoderWeights };
  }

  forward(data: readonly Datum[], options: ForwardOptions): DatumOutput[] {
    return forward(this.weightsOf(options), data, options, this.settings);
  }

  forwardBackward(data: readonly Datum[], loss: Loss): StepOutput {
    const { gradients } = this.optimizer;
    return forwardBackward(this.policy, data, loss, this.settings, () => gradients.collect());
  }

  optimStep(params: OptimParams): OptimOutput {
    const gradNorm = this.optimizer.step(params);
    if (this.settings.trainable === "all") this.policy.features.clear();
    return { gradNorm, weightsVersion: this.optimizer.weightsVersion };
  }

  setReference(): void {
    const before = this.reference;
    const model = this.policy.model.clone();
    // A frozen tower gives both the same features.
    const features =
      this.settings.trainable === "language"
        ? this.policy.features
        : new FeatureCache(model, this.settings.preprocessor, this.featureBytes);
    this.reference = { model, features };
    if (before !== null) this.drop(before);
  }

  async save(folder: string, optimizer: boolean): Promise<void> {
    const extra = optimizer ? (beside: string) => this.optimizer.save(beside) : undefined;
    await saveModelFolder(this.policy.model, folder, { extra });
  }

  /** Returns the number of optimizer steps that the loaded weights have seen: 0 without its state. */
  async load(folder: string, optimizer: boolean): Promise<number> {
    const { model, features } = this.policy;
    const loaded = await loadModelFolder(folder, { device: model.device, dtype: model.dtype });
    try {
      model.copyFrom(loaded.params);
    } finally {
      loaded.dispose();
    }
    features.clear();
    if (this.reference?.features === features) {
      const frozen = this.reference.model;
      const own = new FeatureCache(frozen, this.settings.preprocessor, this.featureBytes);
      this.reference = { model: frozen, features: own };
    }
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

  private drop({ model, features }: Sighted): void {
    if (features !== this.policy.features) features.dispose();
    model.dispose();
  }

  private weightsOf({ weights }: ForwardOptions): Sighted {
    if (weights !== "reference") return this.policy;
    if (this.reference === null)
      throw new VigorlError("usage", "forward: there is no reference yet", {
        hint: "call setReference first",
      });
    return this.reference;
  }
}
