/**
 * The record of an episode: what was in front of the model and what it wrote, as token ids and images,
 * with who wrote each part. Text is never tokenised again; training reads its loss mask off the
 * authors here, and traces, rewards and the page read the rest.
 *
 * Legend: T positions, as `numPositions` counts them.
 */
import { VigorlError } from "../core/errors.ts";
import type { Chunk, Datum, Inexact, Usage } from "../engine/types.ts";
import { numPositions } from "../engine/types.ts";
import type { Coordinates, Point, Size } from "../image/frames.ts";
import type { ModelImage } from "../image/model-image.ts";
import type { PictureId, PictureLine, RecordPlace } from "./pictures.ts";
import type { ToolUse } from "./tools/tool.ts";

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
      /** Model text: the tokens of its call, where the server counts others than stand here. */
      readonly usage?: Usage;
    }
  | {
      readonly type: "image";
      readonly author: "prompt" | "environment";
      readonly turn: number;
      /** Its number among the pictures of the episode. */
      readonly picture: PictureId;
      readonly image: ModelImage;
    };

/**
 * Why an episode ended.
 * answered: an answer block closed, or the model ended its turn inside one.
 * noAnswer: the model ended its turn with neither an answer nor a tool call.
 * turnLimit, imageLimit: a tool call came where no turn or no image was left.
 * toolEnd: a tool ended it.
 * turnTokenLimit: one turn reached `maxTokensPerTurn` before it was over.
 * tokenLimit: the episode reached `maxTotalTokens`; contextLimit: the model's positions are used up.
 * badOutput: sampled ids that no trajectory may hold (no token, or an image placeholder).
 * inputError: an image of the record is missing or broken, or the prompt has no room.
 * samplerError: the engine failed. toolError: what a tool works on failed, not what the model wrote.
 */
export type StopReason =
  | "answered"
  | "noAnswer"
  | "turnLimit"
  | "imageLimit"
  | "toolEnd"
  | "turnTokenLimit"
  | "tokenLimit"
  | "contextLimit"
  | "badOutput"
  | "inputError"
  | "samplerError"
  | "toolError";

export interface EpisodeTurn {
  /** What stands in the assistant's message, forced opening included, control tokens left out. */
  readonly text: string;
  /** Tokens that the model wrote in it. */
  readonly numTokens: number;
  readonly forced: boolean;
  readonly wellFormed: boolean;
  readonly weightsVersion: number;
}

/** A point named in a thought, in the frame of its picture as the model sees it. */
export interface EpisodePoint extends Point<"resized"> {
  /** Thoughts speak of the first picture. */
  readonly picture: PictureId;
  readonly turn: number;
  readonly inImage: boolean;
}

/** How coordinates in the model's text are to be read: they speak of the first picture. */
export interface AnswerView {
  readonly original: Size;
  readonly resized: Size;
  /** The frame of published truths (`unroundedSize`), where it is another than `resized`. */
  readonly unrounded?: Size | undefined;
  /** "resized": pixels of the image as the model sees it; "relative": thousandths. */
  readonly coordinates: Coordinates;
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
  /** All pictures, the record's first; images of `chunks` name theirs. */
  readonly pictures: readonly PictureLine[];
  /** Calls that were carried out, or failed, in order. */
  readonly toolUses: readonly ToolUse[];
  /** Keys of the tools that were offered. */
  readonly tools: readonly string[];
  /** All text after the prompt, images left out and control tokens removed (role names stay). */
  readonly response: string;
  readonly answer: string | null;
  /** How right the recipe's own judge finds it; absent where the kinds' rules judge. */
  readonly judged?: number;
  /** The answer came after a forced opening. */
  readonly forced: boolean;
  /** Every turn is well formed and the last one answers. */
  readonly wellFormed: boolean;
  readonly stopReason: StopReason;
  /** What went wrong, for "badOutput", "inputError", "samplerError" and "toolError"; null otherwise. */
  readonly error: string | null;
  /** Null where the images could not be loaded. */
  readonly view: AnswerView | null;
  /** Positions by author, images counted with their tokens. */
  readonly numTokens: TokenCounts;
  readonly seconds: number;
}

/** Tool calls that did what they asked for. */
export function countUses({
  toolUses,
}: {
  readonly toolUses: readonly { readonly fault: string | null }[];
}): number {
  return toolUses.filter(({ fault }) => fault === null).length;
}

/** The places that tools looked at, on the record's images. */
export function placesLookedAt({ toolUses }: Pick<Trajectory, "toolUses">): RecordPlace[] {
  return toolUses.flatMap(({ at }) => (at === null ? [] : [at]));
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

/**
 * Tokens of all calls together: every call reads anew what stands before it. As the server counts them,
 * else as they stand here, images with their positions.
 */
export function usageOf(authored: readonly AuthoredChunk[]): Usage & { readonly calls: number } {
  const sum = { calls: 0, prompt: 0, generated: 0 };
  let before = 0;
  for (const chunk of authored) {
    const length = chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
    if (chunk.type === "text" && chunk.author === "model") {
      const { prompt, generated } = chunk.usage ?? { prompt: before, generated: length };
      sum.calls++;
      sum.prompt += prompt;
      sum.generated += generated;
    }
    before += length;
  }
  return sum;
}

/** What a server counts, where it counts other tokens than its call has here. */
export function otherUsage(usage: Usage | undefined, here: Usage): { usage?: Usage } {
  const isSame = usage?.prompt === here.prompt && usage.generated === here.generated;
  return usage === undefined || isSame ? {} : { usage };
}

/** Positions by author. */
export function countTokens(authored: readonly AuthoredChunk[]): TokenCounts {
  const counts = { prompt: 0, model: 0, environment: 0, forced: 0 };
  for (const chunk of authored)
    counts[chunk.author] += chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
  return counts;
}
