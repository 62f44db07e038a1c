/**
 * A model folder opened for sampling and learning: the policy, its decoder and features, the frozen
 * reference, the optimiser. Everything here lives in the worker thread.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { errno, VigorlError } from "../../core/errors.ts";
import {
  parsePreprocessorConfig,
  type PreprocessorConfig,
} from "../../image/preprocessor-config.ts";
import { Decoder } from "../../model/decoder.ts";
import { loadModelFolder, saveModelFolder } from "../../model/folder.ts";
import type { Qwen25VL } from "../../model/qwen2-5-vl.ts";
import { loadTokenizer, type Tokenizer } from "../../text/tokenizer.ts";
import { resolveDevice, setNumThreads } from "../../torch/device.ts";
import { liveTensors } from "../../torch/scope.ts";
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
import type { EngineFacts, LocalOptions } from "./protocol.ts";
import type { SchedulerModel } from "./scheduler.ts";
import { tokenBytes } from "./stop.ts";

const DEFAULT_SLOTS = 64;
const DEFAULT_MAX_POSITIONS = 4096;
const DEFAULT_TOKENS_PER_MICRO_BATCH = 4096;
const DEFAULT_BYTES = 512 * 2 ** 20;

/**
 * Loads weights, tokenizer and preprocessor settings.
 * @throws VigorlError "input" for a folder that is not a model folder
 */
export async function openLocalModel(folder: string, options: LocalOptions): Promise<LocalModel> {
  if (options.threads !== undefined) setNumThreads(options.threads);
  const device = resolveDevice(options.device ?? "cpu");
  const model = await loadModelFolder(folder, { device, dtype: options.dtype ?? "float32" });
  const preprocessor = parsePreprocessorConfig(
    await readJson(join(folder, "preprocessor_config.json")),
    join(folder, "preprocessor_config.json"),
  );
  const tokenizer = await tokenizerOf(folder);
  const eosIds = await endTokens(folder, tokenizer);
  return new LocalModel(model, { options, preprocessor, tokenizer, eosIds });
}

interface Extras {
  readonly options: LocalOptions;
  readonly preprocessor: PreprocessorConfig;
  readonly tokenizer: Tokenizer | undefined;
  readonly eosIds: ReadonlySet<number>;
}

export class LocalModel {
  readonly capabilities: Capabilities;
  readonly forSampling: SchedulerModel;
  private readonly policy: Sighted;
  private reference: Sighted | null = null;
  private readonly decoder: Decoder;
  private readonly optimizer: Optimizer;
  private readonly settings: LearnerSettings;
  private readonly featureBytes: number;

  /** Takes ownership of the model. */
  constructor(model: Qwen25VL, extras: Extras) {
    const { options, preprocessor, tokenizer, eosIds } = extras;
    this.featureBytes = options.featureBytes ?? DEFAULT_BYTES;
    this.settings = {
      trainable: options.trainable ?? "all",
      tokensPerMicroBatch: options.tokensPerMicroBatch ?? DEFAULT_TOKENS_PER_MICRO_BATCH,
      logitsBytes: options.logitsBytes ?? DEFAULT_BYTES,
      preprocessor,
    };
    const features = new FeatureCache(model, preprocessor, this.featureBytes);
    this.policy = { model, features };
    this.optimizer = new Optimizer(model.setTrainable(this.settings.trainable));
    const limit = model.config.text.maxPositions;
    const maxPositions = options.maxPositions ?? Math.min(limit, DEFAULT_MAX_POSITIONS);
    if (maxPositions > limit)
      throw new VigorlError("usage", `maxPositions ${maxPositions} exceeds the model's ${limit}`);
    this.decoder = new Decoder(model, {
      numSlots: options.numSlots ?? DEFAULT_SLOTS,
      maxPositions,
    });
    const bytes = tokenizer === undefined ? undefined : tokenBytes(tokenizer);
    const { config } = model;
    this.forSampling = { config, decoder: this.decoder, features, eosIds, tokenBytes: bytes };
    this.capabilities = {
      name: "local",
      sample: true,
      learn: true,
      tokenExact: true,
      maxPositions,
    };
  }

  forward(data: readonly Datum[], options: ForwardOptions): DatumOutput[] {
    return forward(this.weightsOf(options), data, options, this.settings);
  }

  forwardBackward(data: readonly Datum[], loss: Loss): StepOutput {
    return forwardBackward(this.policy, data, loss, this.settings);
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

  /** Returns the number of optimiser steps that the loaded weights have seen: 0 without its state. */
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

  facts(): Pick<EngineFacts, "liveTensors" | "weightsVersion" | "visionRuns"> {
    return {
      liveTensors: liveTensors(),
      weightsVersion: this.optimizer.weightsVersion,
      visionRuns: this.policy.features.runs,
    };
  }

  dispose(): void {
    if (this.reference !== null) this.drop(this.reference);
    this.policy.features.clear();
    this.optimizer.reset();
    this.decoder.dispose();
    this.policy.model.dispose();
  }

  private drop({ model, features }: Sighted): void {
    if (features !== this.policy.features) features.clear();
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

/** A folder may come without a tokenizer: then everything but stop strings works. */
async function tokenizerOf(folder: string): Promise<Tokenizer | undefined> {
  if ((await readJson(join(folder, "tokenizer.json"))) === undefined) return undefined;
  return loadTokenizer(folder);
}

const generationSchema = z.looseObject({
  eos_token_id: z.union([z.int(), z.array(z.int())]).optional(),
});

/** What ends a sample: the tokens of generation_config.json and the tokenizer's own. */
async function endTokens(folder: string, tokenizer?: Tokenizer): Promise<Set<number>> {
  const file = join(folder, "generation_config.json");
  const parsed = generationSchema.safeParse((await readJson(file)) ?? {});
  if (!parsed.success)
    throw new VigorlError("input", `${file}: eos_token_id must be an id or a list of ids`);
  const ids = new Set([parsed.data.eos_token_id ?? []].flat());
  if (tokenizer !== undefined) ids.add(tokenizer.eosId);
  return ids;
}

/** The parsed file, or undefined where there is none. */
async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (errno(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new VigorlError("input", `${file}: not JSON`, { cause });
  }
}
