/**
 * A learner behind the Tinker protocol. All that it asks of a server is cross_entropy, a plain sum of
 * −weight · log-probability: the derivatives of any loss are worked out here and sent as weights, so
 * that every loss of ours trains there exactly. Where they hang on the present log-probabilities, these
 * are fetched first, by a pass without gradients.
 * Left out, because the protocol has neither: entropies, and temperatures other than 1.
 *
 * Axes: T positions of a datum, N = T − 1 of its input.
 */
import { VigorlError } from "../../core/errors.ts";
import { blankLike, toModelImage } from "../../image/model-image.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import type { ChatFormat } from "../../text/chat.ts";
import { checkDatum, datumLoss } from "../losses/table.ts";
import {
  numPositions,
  type Capabilities,
  type Chunk,
  type Datum,
  type DatumOutput,
  type ForwardOptions,
  type Learner,
  type Loss,
  type OptimOutput,
  type OptimParams,
  type Sample,
  type SampleOptions,
  type SampleParams,
  type Saved,
  type StepOutput,
} from "../types.ts";
import { crossEntropySum, cut, scoredMask, toLogprobs, toWireDatum } from "./data.ts";
import type { TinkerConfig } from "./options.ts";
import { drawSample, promptLogprobs, readsImages, tinkerCapabilities } from "./sampler.ts";
import type { Session, TrainedModel } from "./session.ts";
import { decodePass, encodePass, type PassResult, type WireDatum } from "./wire.ts";

export interface TinkerOptions {
  readonly session: Session;
  readonly engine: TinkerConfig;
  readonly chat: ChatFormat;
  readonly preprocessor: PreprocessorConfig;
  /** Whether it is opened for learning. */
  readonly learns: boolean;
}

/** Of what a sum may differ from ours: single precision, and the order of adding up. */
const SUM_TOLERANCE = 1e-2;

export class TinkerEngine implements Learner {
  private readonly options: TinkerOptions;
  private readonly isClosed = new AbortController();
  private model: TrainedModel | undefined;
  private known: Capabilities;
  private version = 0;
  private numSaves = 0;
  /** Of the present weights; made when it is first needed. */
  private sampler: Promise<string> | undefined;
  private reference: Promise<string> | undefined;

  private constructor(options: TinkerOptions) {
    this.options = options;
    const { engine, learns } = options;
    const { baseModel, maxPositions } = engine;
    this.known = {
      name: `tinker:${baseModel}`,
      ...tinkerCapabilities,
      learn: learns,
      maxPositions: maxPositions === "auto" ? Number.MAX_SAFE_INTEGER : maxPositions,
    };
  }

  get capabilities(): Capabilities {
    return this.known;
  }

  static async open(options: TinkerOptions, signal?: AbortSignal): Promise<TinkerEngine> {
    const made = new TinkerEngine(options);
    const { session, engine, learns } = options;
    const { weights } = engine;
    const isTrained = weights?.includes("/weights/") === true;
    try {
      if (isTrained) {
        made.model = await session.loadModel(weights, learns, signal);
        made.version = versionOf(weights);
      } else if (learns) {
        if (weights !== undefined) throw samplerWeights(weights);
        made.model = await session.createModel(signal);
      } else made.sampler = session.createSampler(weights, signal);
      const images = await made.looks();
      made.known = { ...made.known, images };
      return made;
    } catch (error) {
      await made.close();
      throw error;
    }
  }

  async sample(
    prompt: readonly Chunk[],
    params: SampleParams,
    { signal }: SampleOptions = {},
  ): Promise<Sample> {
    signal?.throwIfAborted();
    const { session, chat } = this.options;
    const version = this.version;
    const sampler = await this.presentSampler();
    const { tokenizer, endOfTurnId } = chat;
    const settings = { session, tokenizer, endOfTurnId };
    return drawSample(settings, sampler, prompt, params, version, this.orClosed(signal));
  }

  async forward(data: readonly Datum[], options: ForwardOptions = {}): Promise<DatumOutput[]> {
    const { weights = "policy", blind = false, positions = "weighted" } = options;
    data.forEach((datum, n) => check(datum, n));
    const seen = blind ? data.map(blinded) : data;
    const masks = seen.map((datum) => scoredMask(datum.chunks, datum.weights, positions));
    if (weights === "policy") {
      const { logprobs_T } = await this.pass(seen, masks, masks, true);
      return logprobs_T.map((logprobs) => ({ logprobs }));
    }
    if (this.reference === undefined)
      throw new VigorlError("usage", `${this.known.name}: no reference is set`);
    const sampler = await this.reference;
    const { session } = this.options;
    const logprobs_T = await Promise.all(
      seen.map(({ chunks }, n) => promptLogprobs(session, sampler, chunks, masks[n])),
    );
    return logprobs_T.map((logprobs) => ({ logprobs }));
  }

  async forwardBackward(data: readonly Datum[], loss: Loss): Promise<StepOutput> {
    data.forEach((datum, n) => check(datum, n, loss));
    const masks = data.map((datum) => scoredMask(datum.chunks, datum.weights, "weighted"));
    const before = hangsOnLogprobs(loss)
      ? (await this.pass(data, masks, masks, true)).logprobs_T
      : masks.map((mask) => new Float32Array(mask.length));
    const weights_T = data.map((datum, n) =>
      datumLoss(loss, before[n], datum, n).gradient_T.map((slope) => -slope),
    );
    const { logprobs_T } = await this.pass(data, weights_T, masks, false);
    const losses = data.map((datum, n) =>
      datumLoss(loss, hangsOnLogprobs(loss) ? before[n] : logprobs_T[n], datum, n),
    );
    const sum = (of: (one: (typeof losses)[number]) => number) =>
      losses.reduce((total, one) => total + of(one), 0);
    const numTokens = Math.max(
      1,
      sum(({ stats }) => stats.numTokens),
    );
    return {
      outputs: logprobs_T.map((logprobs) => ({ logprobs })),
      loss: sum(({ loss: value }) => value),
      clipFraction: sum(({ stats }) => stats.numClipped) / numTokens,
      kl: sum(({ stats }) => stats.kl) / numTokens,
    };
  }

  async optimStep(params: OptimParams): Promise<OptimOutput> {
    const { learningRate, beta1, beta2, eps, weightDecay, clipNorm, decayAll = false } = params;
    if (decayAll && this.options.engine.lora.rank === 0) {
      throw new VigorlError(
        "usage",
        `${this.known.name}: which weights decay is the server's affair`,
        {
          hint: "set decayNorms to false",
        },
      );
    }
    const { metrics } = await this.trained().runJson(
      "optim_step",
      {
        adam_params: {
          learning_rate: learningRate,
          beta1,
          beta2,
          eps,
          weight_decay: weightDecay,
          grad_clip_norm: clipNorm,
        },
      },
      "OptimStep",
    );
    this.version++;
    this.sampler = undefined;
    const gradNorm = gradNormOf(metrics);
    if (gradNorm !== undefined && !Number.isFinite(gradNorm))
      throw new VigorlError("numerics", `the server's gradient norm is ${gradNorm}`, {
        hint: "lower the learning rate or the gradient norm bound; --resume goes on from before",
      });
    return { ...(gradNorm === undefined ? {} : { gradNorm }), weightsVersion: this.version };
  }

  async setReference(): Promise<void> {
    this.reference = this.presentSampler();
    await this.reference;
  }

  /** Kept at the server, with the optimizer's state, under a path that is its handle. */
  async save(): Promise<Saved> {
    const name = `v${this.version}-${process.pid.toString(36)}-${++this.numSaves}`;
    return { in: "engine", handle: await this.trained().save(name) };
  }

  async load(from: string, { optimizer = false } = {}): Promise<void> {
    if (!from.startsWith("tinker://")) {
      throw new VigorlError("usage", `${from}: no checkpoint of a Tinker server`, {
        hint: "its path begins with tinker://; weights of a folder cannot be sent there",
      });
    }
    this.model = await this.options.session.loadModel(from, optimizer);
    this.version = versionOf(from);
    this.sampler = undefined;
  }

  discard(handle: string): Promise<void> {
    return this.options.session.deleteCheckpoint(handle);
  }

  async close(): Promise<void> {
    this.isClosed.abort(new VigorlError("interrupted", "the engine was closed"));
    await this.options.session.close();
  }

  private trained(): TrainedModel {
    if (this.model !== undefined) return this.model;
    throw new VigorlError("usage", `${this.known.name}: was opened for sampling only`);
  }

  private presentSampler(): Promise<string> {
    return (this.sampler ??= this.trained().snapshot());
  }

  private orClosed(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined
      ? this.isClosed.signal
      : AbortSignal.any([signal, this.isClosed.signal]);
  }

  /**
   * A pass over data with these weights over T. Large batches are cut; the server adds up.
   * @throws VigorlError("numerics") where it did not read what it was sent, or did not sum
   */
  private async pass(
    data: readonly Datum[],
    weights_T: readonly ArrayLike<number>[],
    masks: readonly Uint8Array[],
    forwardOnly: boolean,
  ): Promise<{ logprobs_T: Float32Array[] }> {
    const { config } = this.options.session;
    const wire = await Promise.all(data.map(({ chunks }, n) => toWireDatum(chunks, weights_T[n])));
    const parts = cut(wire, {
      maxData: config.fwdbwd_max_chunk_len,
      maxBytes: config.fwdbwd_max_chunk_bytes_count,
    });
    const results = await Promise.all(parts.map((part) => this.passPart(part, forwardOnly)));
    const logprobs_N = results.flatMap((result) => result.logprobs_N);
    return {
      logprobs_T: masks.map((mask, n) => toLogprobs(logprobs_N[n], mask, `datum ${n}`)),
    };
  }

  private async passPart(data: readonly WireDatum[], forwardOnly: boolean): Promise<PassResult> {
    const model = this.trained();
    const reply = await model.run(
      "forward_backward",
      (seqId) => encodePass({ modelId: model.id, seqId, data, forwardOnly }),
      forwardOnly ? "Forward" : "ForwardBackward",
    );
    if (reply.type === "json")
      throw new VigorlError("usage", "forward_backward: the result came as JSON", {
        hint: "the server speaks an older wire of the protocol; one of SDK 0.25 or later is needed",
      });
    const result = decodePass(reply.bytes);
    if (result.logprobs_N.length !== data.length)
      throw new VigorlError(
        "numerics",
        `forward_backward: ${result.logprobs_N.length} results for ${data.length} data`,
      );
    if (!forwardOnly) this.checkSum(data, result);
    return result;
  }

  /** Some servers divide by the sum of the weights: the loss that they tell shows it. */
  private checkSum(data: readonly WireDatum[], result: PassResult): void {
    const told = result.metrics["loss:sum"];
    const short = result.logprobs_N.some(({ length }, n) => length !== data[n].weights.length);
    if (short) return; // told with its place by `toLogprobs`
    if (told === undefined) {
      if (this.options.engine.unverifiedSums) return;
      throw new VigorlError(
        "usage",
        `${this.known.name}: the server does not tell its loss, so that nobody can check that it sums the weighted log-probabilities`,
        { hint: "if you know that it does, set engine.unverifiedSums to true" },
      );
    }
    const ours = crossEntropySum(data, result);
    const scale = data.reduce(
      (sum, { weights }, n) =>
        sum + weights.reduce((inner, w, i) => inner + Math.abs(w * result.logprobs_N[n][i]), 0),
      1e-6,
    );
    if (Math.abs(told - ours) <= SUM_TOLERANCE * scale) return;
    throw new VigorlError(
      "numerics",
      `${this.known.name}: the server's loss is ${told}, but −Σ weight · logprob is ${ours}: it normalises weights`,
      { hint: "such a server computes other gradients than are asked for; use another one" },
    );
  }

  /** Whether the server looks at images at all. */
  private async looks(): Promise<boolean> {
    const { chat, preprocessor, session } = this.options;
    const { visionStartId, visionEndId } = chat.tokenizer;
    const side = 64;
    const data = Uint8Array.from({ length: 3 * side * side }, (_, i) => (i * 2654435761) >>> 24);
    const { minPixels, maxPixels } = preprocessor;
    const image = toModelImage(
      { data, widthPx: side, heightPx: side },
      { minPixels, maxPixels },
      preprocessor,
    );
    const chunksWith = (blank: boolean): Chunk[] => [
      { type: "text", tokens: [visionStartId] },
      { type: "image", image: blank ? blankLike(image) : image },
      { type: "text", tokens: [visionEndId, chat.endOfTurnId, visionStartId] },
    ];
    return readsImages(chunksWith, async (chunks, mask_T) => {
      if (this.model === undefined)
        return promptLogprobs(session, await this.presentSampler(), chunks, mask_T);
      const datum: Datum = { chunks, weights: new Float32Array(numPositions(chunks)) };
      return (await this.pass([datum], [mask_T], [mask_T], true)).logprobs_T[0];
    });
  }
}

/** Whether the derivatives of a loss hang on the present log-probabilities. */
function hangsOnLogprobs(loss: Loss): boolean {
  return loss.kind !== "crossEntropy" && (!loss.onPolicy || loss.klCoef > 0);
}

function check(datum: Datum, n: number, loss?: Loss): void {
  checkDatum(datum, n, numPositions(datum.chunks), loss);
  const { temperature = 1 } = datum;
  if (temperature === 1) return;
  throw new VigorlError("usage", `datum ${n} was sampled at temperature ${temperature}`, {
    hint: "the protocol's log-probabilities are those of temperature 1: set rl.temperature to 1",
  });
}

function blinded(datum: Datum): Datum {
  const chunks = datum.chunks.map((chunk): Chunk =>
    chunk.type === "text" ? chunk : { type: "image", image: blankLike(chunk.image) },
  );
  return { ...datum, chunks };
}

/** Servers name it differently, and some not at all. */
function gradNormOf(metrics: unknown): number | undefined {
  if (typeof metrics !== "object" || metrics === null) return undefined;
  const found = Object.entries(metrics).find(([name]) => /grad_norm/.test(name));
  return typeof found?.[1] === "number" ? found[1] : undefined;
}

/** Optimizer steps that a checkpoint of ours has seen; 0 of others. */
function versionOf(path: string): number {
  return Number(/\/v(\d+)-[^/]*$/.exec(path)?.[1] ?? 0);
}

function samplerWeights(path: string): VigorlError {
  return new VigorlError("usage", `${path}: weights for a sampler cannot be trained on`, {
    hint: "name a checkpoint with /weights/ in its path",
  });
}
