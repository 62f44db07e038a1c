/**
 * The record of an episode: what was in front of the model and what it wrote, as token ids and images,
 * with who wrote each part. Text is never tokenised again; training reads its loss mask off the
 * authors here, and traces, rewards and the page read the rest.
 *
 * Legend: T positions, as `numPositions` counts them.
 */
import { VigorlError } from "../core/errors.ts";
import type { Chunk, Datum, Inexact } from "../engine/types.ts";
import { numPositions } from "../engine/types.ts";
import type { Box, Point, Size } from "../image/frames.ts";
import type { ModelImage } from "../image/model-image.ts";
import type { ToolPlace } from "../text/tool-call.ts";
import type { ToolFault } from "../text/prompts.ts";

/** Who wrote a part: the task, the model, the environment, or we in the model's name. */
export type Author = "prompt" | "model" | "environment" | "forced";

/**
 * A chunk with its author. Model text carries one log-probability a token, at the temperature of its
 * trajectory, or says why its tokens may not be those that were sampled.
 */
export type AuthoredChunk =
  | {
      readonly type: "text";
      readonly author: Author;
      readonly turn: number;
      readonly tokens: readonly number[];
      readonly logprobs?: readonly number[];
      readonly inexact?: Inexact;
      /** Of all images before it, worked out from the pixels by the engine that read them. */
      readonly imageHashes?: readonly string[];
    }
  | {
      readonly type: "image";
      readonly author: "prompt" | "environment";
      readonly turn: number;
      readonly image: ModelImage;
    };

/**
 * Why an episode ended.
 * answered: an answer block closed, or the model ended its turn inside one.
 * noAnswer: the model ended its turn with neither an answer nor a tool call.
 * turnLimit, imageLimit: a tool call came where no turn or no image was left.
 * turnTokenLimit: one turn reached `maxTokensPerTurn` before it was over.
 * tokenLimit: the episode reached `maxTotalTokens`; contextLimit: the model's positions are used up.
 * badOutput: sampled ids that no trajectory may hold (no token, or an image placeholder).
 * inputError: an image of the record is missing or broken. samplerError: the engine failed.
 */
export type StopReason =
  | "answered"
  | "noAnswer"
  | "turnLimit"
  | "imageLimit"
  | "turnTokenLimit"
  | "tokenLimit"
  | "contextLimit"
  | "badOutput"
  | "inputError"
  | "samplerError";

export interface EpisodeTurn {
  /** What stands in the assistant's message, forced opening included, control tokens left out. */
  readonly text: string;
  /** Tokens that the model wrote in it. */
  readonly numTokens: number;
  readonly forced: boolean;
  readonly wellFormed: boolean;
  /** Why its tool call gave no crop; null where it gave one or there was none. */
  readonly fault: ToolFault | null;
  readonly weightsVersion: number;
}

/** A point named in a thought, in the frame of the first image as the model sees it. */
export interface EpisodePoint extends Point<"resized"> {
  readonly turn: number;
  readonly inImage: boolean;
}

export type ZoomControl = "none" | "blank" | "elsewhere";

export interface EpisodeZoom {
  readonly turn: number;
  /** What the model asked for, as it wrote it. */
  readonly place: ToolPlace;
  /** The place asked for (of a box, its centre), in the first image as the model sees it. */
  readonly at: Point<"resized">;
  /** What was shown: its box in the original. Under "elsewhere" this is not where the model pointed. */
  readonly boxOriginal: Box<"original">;
  readonly outputSize: Size;
  readonly imageHash: string;
  readonly control: ZoomControl;
}

/** How coordinates in the model's text are to be read. */
export interface AnswerView {
  readonly original: Size;
  readonly resized: Size;
  /** "resized": pixels of the image as the model sees it; "relative": thousandths. */
  readonly coordinates: "resized" | "relative";
}

export interface TokenCounts {
  readonly prompt: number;
  readonly model: number;
  readonly environment: number;
  readonly forced: number;
}

/** What can be learned from: an episode, or a conversation that a search or a file has written. */
export interface Transcript {
  /** Names it in messages. */
  readonly id: string;
  /** The task that its record belongs to; "" where there is but one. */
  readonly task: string;
  /** Of its record; "" where there is none. */
  readonly category: string;
  readonly chunks: readonly AuthoredChunk[];
}

/** What an episode leaves. */
export interface Trajectory extends Transcript {
  readonly recordId: string;
  readonly seed: number;
  /** Of its log-probabilities: that of sampling, 1 where greedy. */
  readonly temperature: number;
  readonly turns: readonly EpisodeTurn[];
  readonly points: readonly EpisodePoint[];
  readonly zooms: readonly EpisodeZoom[];
  /** Whether the zoom tool was offered. */
  readonly canZoom: boolean;
  /** All text after the prompt, images left out and control tokens removed (role names stay). */
  readonly response: string;
  readonly answer: string | null;
  /** The answer came after a forced opening. */
  readonly forced: boolean;
  /** Every turn is well formed and the last one answers. */
  readonly wellFormed: boolean;
  readonly stopReason: StopReason;
  /** What went wrong, for "badOutput", "inputError" and "samplerError"; null otherwise. */
  readonly error: string | null;
  /** Null where the images could not be loaded. */
  readonly view: AnswerView | null;
  /** Positions by author, images counted with their tokens. */
  readonly numTokens: TokenCounts;
  readonly seconds: number;
}

/** The chunks as an engine takes them; neighbouring texts are joined. */
export function toChunks(authored: readonly AuthoredChunk[]): Chunk[] {
  const out: Chunk[] = [];
  let tokens: number[] = [];
  const flush = () => {
    if (tokens.length > 0) out.push({ type: "text", tokens });
    tokens = [];
  };
  for (const chunk of authored) {
    if (chunk.type === "text") for (const token of chunk.tokens) tokens.push(token);
    else {
      flush();
      out.push({ type: "image", image: chunk.image });
    }
  }
  flush();
  return out;
}

/**
 * One training example: weight 1 on every token the model wrote, 0 elsewhere; the sampler's
 * log-probabilities as `oldLogprobs` where the episode has them.
 * The chunks end with the last position that carries weight.
 * @throws VigorlError("input") when model tokens are not known to be those that were sampled.
 */
export function episodeToDatum(episode: { readonly chunks: readonly AuthoredChunk[] }): Datum {
  const last = episode.chunks.findLastIndex((chunk) => chunk.author === "model");
  const authored = episode.chunks.slice(0, last + 1);
  const chunks = toChunks(authored);
  const total = numPositions(chunks);
  const weights = new Float32Array(total);
  const oldLogprobs = new Float32Array(total);
  let hasLogprobs = false;
  let at = 0;
  for (const chunk of authored) {
    const length = chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
    if (chunk.type === "text" && chunk.author === "model") {
      refuseInexact(chunk.inexact);
      weights.fill(1, at, at + length);
      if (chunk.logprobs !== undefined) {
        oldLogprobs.set(chunk.logprobs, at);
        hasLogprobs = true;
      }
    }
    at += length;
  }
  return { chunks, weights, ...(hasLogprobs ? { oldLogprobs } : {}) };
}

function refuseInexact(inexact: Inexact | undefined): void {
  if (inexact === undefined) return;
  const what = inexact === "text" ? "made from a server's text" : "sampled behind another prompt";
  throw new VigorlError("input", `an episode cannot be trained on: its tokens were ${what}`, {
    hint: "sample with the local engine or a server that returns token ids, or train on its text as a conversation",
  });
}

/** Positions by author. */
export function countTokens(authored: readonly AuthoredChunk[]): TokenCounts {
  const counts = { prompt: 0, model: 0, environment: 0, forced: 0 };
  for (const chunk of authored)
    counts[chunk.author] += chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
  return counts;
}
