/**
 * The seam between thinking and weights. Search, SFT, GRPO, evaluation and serving know only what
 * stands here; behind it are `local/` (libtorch in a worker thread), `openai` (sampling only) and,
 * for learners that are already distributed, `tinker`. The verbs are those of the Tinker protocol.
 *
 * Lengths: a chunk list expands to T positions, one per text token and one per image token
 * (`ModelImage.numTokens`). Arrays "over T" follow that order. Entry t speaks of token t, predicted
 * from the positions before it.
 */
import type { ModelImage } from "../image/model-image.ts";
import type { Loss } from "./losses/table.ts";

export type { Loss };

/** A piece of a prompt or of a trajectory: token ids, or an image as the model sees it. */
export type Chunk =
  | { readonly type: "text"; readonly tokens: readonly number[] }
  | { readonly type: "image"; readonly image: ModelImage };

/** Number of positions T that `chunks` expand to. The placeholders around an image are text tokens. */
export function numPositions(chunks: readonly Chunk[]): number {
  let total = 0;
  for (const chunk of chunks)
    total += chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
  return total;
}

export interface SampleParams {
  /** Upper bound on new tokens. */
  readonly maxTokens: number;
  /** Logits are divided by it; below `GREEDY_TEMPERATURE` the likeliest token is taken. */
  readonly temperature: number;
  /** 1 switches it off. */
  readonly topP: number;
  /** 0 switches it off. */
  readonly topK: number;
  /** Generation ends after the first of these; the string itself stays in the tokens. */
  readonly stop: readonly string[];
  /**
   * Draw one token more behind a stop string: where the model ends its turn there, that is its own
   * word, with its log-probability. The local engine does it; others end at the string. Default false.
   */
  readonly endOfTurn?: boolean;
  /** The draw of token n depends on this seed and n alone. */
  readonly seed: number;
}

/** Temperatures below this one are greedy: nothing but the likeliest token could be drawn. */
export const GREEDY_TEMPERATURE = 1e-5;

/**
 * The temperature whose log-probabilities a sample carries: the one it was drawn at, and 1 for greedy
 * ones, which no distribution was drawn from.
 */
export function scoredTemperature(temperature: number): number {
  return temperature < GREEDY_TEMPERATURE ? 1 : temperature;
}

/** Why a sample ended. `eos`: the model's own end token, which stays in the tokens. */
export type SampleStop = "stop" | "eos" | "length";

export interface Sample {
  readonly tokens: number[];
  /**
   * Natural log-probability of each token at `scoredTemperature`, before top-p and top-k; of a server,
   * what it says they are. Empty where `inexact` is "text".
   */
  readonly logprobs: number[];
  readonly stopReason: SampleStop;
  /** How many optimizer steps the weights had seen; -1 where the server does not say. */
  readonly weightsVersion: number;
  /** Set where the record is not, id for id, what was read and sampled: not to be trained on. */
  readonly inexact?: Inexact;
  /** Hashes of the prompt's images from the pixels that were read; absent where an engine has none. */
  readonly imageHashes?: readonly string[];
  /** Tokens as the server counts them, hidden ones among them; absent where it does not say. */
  readonly usage?: Usage;
}

/** Tokens of one call, or of several together. */
export interface Usage {
  readonly prompt: number;
  readonly generated: number;
}

/**
 * Why a sample is not exact. "text": the server gave text, and its tokens were made from that here.
 * "prompt": the server read other tokens than those it was asked about, or does not say which.
 */
export type Inexact = "text" | "prompt";

export interface SampleOptions {
  readonly signal?: AbortSignal;
  /** Called with each new token by engines that can tell before the sample is complete. */
  readonly onToken?: (token: number, logprob: number) => void;
}

export interface Sampler {
  readonly capabilities: Capabilities;
  sample(prompt: readonly Chunk[], params: SampleParams, options?: SampleOptions): Promise<Sample>;
  close(): Promise<void>;
}

/** What an engine can do besides sampling; whoever needs one of these asks before work starts. */
export interface Capabilities {
  /** Of the engine, for messages and records. */
  readonly name: string;
  /** Gradients, optimizer steps, checkpoints. */
  readonly learn: boolean;
  /** Token ids come back as sampled, so that a trajectory can be trained on. */
  readonly tokenExact: boolean;
  /** Log-probabilities of tokens that are given. */
  readonly promptLogprobs: boolean;
  /** Log-probabilities at other temperatures than 1. */
  readonly temperature: boolean;
  /** Entropies beside log-probabilities. */
  readonly entropy: boolean;
  /** Log-probabilities under frozen weights. */
  readonly reference: boolean;
  /** Log-probabilities with the pixels blanked. */
  readonly blind: boolean;
  /** Prompts may hold images. */
  readonly images: boolean;
  /** Longest sequence, prompt and answer together. */
  readonly maxPositions: number;
}

/** One training example. All arrays have length T = numPositions(chunks). */
export interface Datum {
  readonly chunks: readonly Chunk[];
  /** Of all its log-probabilities, the learner's too: what it was sampled at. Default 1. */
  readonly temperature?: number;
  /**
   * Weight of each token in the loss: 0 where the environment wrote it. Aggregation (token mean,
   * sequence mean, constant length) is folded in here; the engine only ever sums.
   */
  readonly weights: Float32Array;
  /** Policy losses: log-probabilities under the policy that sampled (π_old). */
  readonly oldLogprobs?: Float32Array;
  /** Policy losses: log-probabilities under the frozen reference; needed where klCoef > 0. */
  readonly refLogprobs?: Float32Array;
  /** Policy losses: advantage of each token. */
  readonly advantages?: Float32Array;
  /**
   * Policy losses: importance correction of stale samples, already truncated (min(c, π/π_sampled));
   * scales the policy term and never the KL. 1 where absent.
   */
  readonly importance?: Float32Array;
}

/** What a forward pass says of one datum; arrays over T, 0 where nothing was scored. */
export interface DatumOutput {
  /** Of the tokens with weight ≠ 0, or of every text token but the first (`positions: "all"`). */
  readonly logprobs: Float32Array;
  /** Entropy of the distribution that predicted each of these tokens, in nats; of engines that know it. */
  readonly entropy?: Float32Array;
  /** Hashes of its images from the pixels that were read; absent where an engine has none. */
  readonly imageHashes?: readonly string[];
}

export interface StepOutput {
  readonly outputs: DatumOutput[];
  /** Σ weight · loss over all data. */
  readonly loss: number;
  /** Share of weighted tokens whose ratio was clipped; mean k3 KL; both 0 for cross-entropy. */
  readonly clipFraction: number;
  readonly kl: number;
}

export interface ForwardOptions {
  /** `reference`: the frozen weights of `setReference`; default the policy. */
  readonly weights?: "policy" | "reference";
  /** Replace every image by black pixels of the same grid (the blind arm of the parity gate). */
  readonly blind?: boolean;
  /** What to score: tokens with weight ≠ 0 (default), or every text token but the first. */
  readonly positions?: "weighted" | "all";
  /** Run the vision tower again instead of using features that it gave before. */
  readonly anew?: boolean;
}

export interface OptimParams {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Decay gains of norms and biases too. Default false. */
  readonly decayAll?: boolean;
  /** Global L2 norm bound; 0 switches clipping off. */
  readonly clipNorm: number;
  /** What both moments are kept in. Default float32. */
  readonly moments?: "float32" | "bfloat16" | "int8";
  /** What is kept beside weights in half precision: a copy, what rounding took, or nothing. Default float32. */
  readonly masters?: "float32" | "kahan" | "none";
  /** Where moments and masters lie. Default device. */
  readonly stateOn?: "device" | "cpu";
}

export interface OptimOutput {
  /** Before clipping; absent where an engine does not say. */
  readonly gradNorm?: number;
  /** Optimizer steps taken so far, this one included. */
  readonly weightsVersion: number;
}

/**
 * Where an engine has put its weights: into the folder that it was given (a Hugging Face folder), or
 * under a handle that it alone can open, such as the path of a checkpoint at its server.
 */
export type Saved = { readonly in: "folder" } | { readonly in: "engine"; readonly handle: string };

/** An engine that also learns. */
export interface Learner extends Sampler {
  forward(data: readonly Datum[], options?: ForwardOptions): Promise<DatumOutput[]>;
  /** Adds gradients; any number of calls may come before `optimStep`. */
  forwardBackward(data: readonly Datum[], loss: Loss): Promise<StepOutput>;
  /** Clips, steps and clears the gradients. Throws VigorlError("numerics") on a non-finite norm. */
  optimStep(params: OptimParams): Promise<OptimOutput>;
  /** Freezes a copy of the present weights as the reference. */
  setReference(): Promise<void>;
  /** With `optimizer`, the state that an exact resume needs is kept beside the weights. */
  save(folder: string, options?: { optimizer?: boolean }): Promise<Saved>;
  /** Takes up what `save` left: its folder, or its handle. */
  load(from: string, options?: { optimizer?: boolean }): Promise<void>;
  /** Gives up what stands under a handle of `save`. Absent where there are none. */
  discard?(handle: string): Promise<void>;
}
