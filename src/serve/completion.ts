/**
 * One request, from its prompt to its choices. Streamed or not, a choice is the same tokens: it is
 * one sample of the engine, written out piece by piece or at once.
 */
import { randomInt } from "node:crypto";
import { deriveSeed } from "../core/random.ts";
import {
  numPositions,
  type Chunk,
  type Sample,
  type SampleParams,
  type Sampler,
} from "../engine/types.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { parseTurn, stopStrings } from "../text/grammar.ts";
import { ApiError } from "./api-error.ts";
import { HeldCall } from "./held-call.ts";
import type { CompletionRequest } from "./request-schema.ts";
import { callOf, type ToolFormat, type WrittenCall } from "./tool-calls.ts";
import type { Turns } from "./turns.ts";
import { VisibleText } from "./visible-text.ts";

/** A part of a choice: text that can be shown, and the tokens that came with it. */
export interface Piece {
  readonly content: string;
  readonly tokens: readonly number[];
  readonly logprobs: readonly number[];
}

export interface Choice {
  readonly index: number;
  readonly finishReason: "stop" | "length" | "tool_calls";
  /** What the model wants to have done, where tools were offered. */
  readonly call: WrittenCall | null;
  /** The stop string that ended it, or null. */
  readonly stopString: string | null;
  readonly numTokens: number;
  readonly weightsVersion: number;
}

/** Of a model, where a request leaves it open. */
export interface SamplingDefaults {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
}

/** The parameters of every choice; choice i > 0 draws from a seed derived from the request's and i. */
export function paramsOf(
  request: CompletionRequest,
  prompt: readonly Chunk[],
  maxPositions: number,
  { temperature = 1, topP = 1, topK = 0 }: SamplingDefaults = {},
): SampleParams[] {
  const used = numPositions(prompt);
  const room = maxPositions - used;
  const asked = request.max_completion_tokens ?? request.max_tokens ?? room;
  if (room < 1 || asked > room) {
    const param = room < 1 ? "messages" : "max_tokens";
    const what = `${used} of the prompt and ${asked} new ones are too many`;
    throw tooLong(what, maxPositions, param);
  }
  const seed = request.seed ?? randomInt(2 ** 31);
  const { stop } = request;
  return Array.from({ length: request.n ?? 1 }, (_, i) => ({
    maxTokens: asked,
    temperature: request.temperature ?? temperature,
    topP: request.top_p ?? topP,
    topK: Math.max(0, request.top_k ?? topK),
    stop: typeof stop === "string" ? [stop] : (stop ?? []),
    seed: i === 0 ? seed : deriveSeed(seed, i),
  }));
}

/** What is said of a request that has no room in the model's context; `what` names its part. */
export function tooLong(what: string, maxPositions: number, param = "messages"): ApiError {
  const code = "context_length_exceeded";
  return new ApiError(400, `the model has ${maxPositions} positions: ${what}`, { param, code });
}

/** What a choice is sampled from. */
export interface ChoiceJob {
  readonly sampler: Sampler;
  readonly tokenizer: Tokenizer;
  readonly prompt: readonly Chunk[];
  readonly params: SampleParams;
  readonly index: number;
  readonly keepsStop: boolean;
  readonly signal: AbortSignal;
  readonly turns: Turns;
  /** Whose turn it is. */
  readonly request: object;
  /** Where tools are offered: how they are spoken of, and the number of the turn. */
  readonly tools: { readonly format: ToolFormat; readonly turn: number } | null;
}

/**
 * Samples one choice. `onPiece` gets all of it in order, as early as the engine tells.
 * @throws what the sampler throws, or the signal's reason.
 */
export function complete(job: ChoiceJob, onPiece: (piece: Piece) => void): Promise<Choice> {
  return job.tools === null ? completeText(job, onPiece) : completeTurn(job, job.tools, onPiece);
}

async function completeText(job: ChoiceJob, onPiece: (piece: Piece) => void): Promise<Choice> {
  const { tokenizer, params, index } = job;
  const text = new VisibleText(tokenizer, params.stop, job.keepsStop);
  const show = (token: number) => (tokenizer.hasId(token) ? text.push(token) : "");
  const { sample, rest } = await sampled(job, job.prompt, params, show, onPiece);
  onPiece({ ...rest, content: rest.content + text.flush() });
  return {
    index,
    finishReason: sample.stopReason === "length" ? "length" : "stop",
    call: null,
    stopString: sample.stopReason === "stop" ? text.stopString : null,
    numTokens: sample.tokens.length,
    weightsVersion: sample.weightsVersion,
  };
}

/** One turn of an episode that the client plays, sampled as `speak` of `task/turn.ts` samples it. */
async function completeTurn(
  job: ChoiceJob,
  { format, turn }: NonNullable<ChoiceJob["tools"]>,
  onPiece: (piece: Piece) => void,
): Promise<Choice> {
  const { tokenizer, params, index } = job;
  const { chat, dialect } = format;
  const held = new HeldCall(dialect.tags.toolCall.open);
  const stop = stopStrings(true, dialect);
  const tokens: number[] = [];
  let sample: Sample;
  for (let part = 0; ; part++) {
    const text = new VisibleText(tokenizer, [], true);
    const show = (token: number) => (tokenizer.hasId(token) ? held.push(text.push(token)) : "");
    const said: Chunk[] = tokens.length === 0 ? [] : [{ type: "text", tokens: [...tokens] }];
    const own = {
      ...params,
      stop,
      maxTokens: params.maxTokens - tokens.length,
      seed: part === 0 ? deriveSeed(params.seed, turn) : deriveSeed(params.seed, turn, part),
    };
    const got = await sampled(job, [...job.prompt, ...said], own, show, onPiece);
    onPiece({ ...got.rest, content: got.rest.content + held.push(text.flush()) });
    ({ sample } = got);
    for (const token of sample.tokens) tokens.push(token);
    const { segments, isOpen } = parseTurn(chat.opening + held.all, dialect);
    const acts = segments.some(
      ({ kind, closed }) => closed && (kind === "toolCall" || kind === "answer"),
    );
    // A closing tag that is quoted in a thought ends nothing.
    const isOver = sample.stopReason !== "stop" || (!isOpen && acts);
    if (isOver || tokens.length >= params.maxTokens) break;
  }
  const called = callOf(held.all, turn, format, chat.opening);
  const isCut = sample.stopReason === "length";
  const ends = isCut ? null : called;
  const shown = (ends?.content ?? held.all).length;
  onPiece({ content: held.flush(shown), tokens: [], logprobs: [] });
  return {
    index,
    finishReason: isCut ? "length" : ends === null ? "stop" : "tool_calls",
    call: ends?.call ?? null,
    stopString: null,
    numTokens: tokens.length,
    weightsVersion: sample.weightsVersion,
  };
}

/** One sample, told piece by piece in the words of `show`, but for what is left at its end. */
async function sampled(
  { sampler, turns, request, signal }: ChoiceJob,
  prompt: readonly Chunk[],
  params: SampleParams,
  show: (token: number) => string,
  onPiece: (piece: Piece) => void,
): Promise<{ readonly sample: Sample; readonly rest: Piece }> {
  let numTold = 0;
  const onToken = (token: number, logprob: number) => {
    numTold++;
    onPiece({ content: show(token), tokens: [token], logprobs: [logprob] });
  };
  const sample = await turns.take(request, signal, () =>
    sampler.sample(prompt, params, { signal, onToken }),
  );
  const content = sample.tokens.slice(numTold).map(show).join("");
  return { sample, rest: { content, ...untold(sample, numTold) } };
}

/** The tokens that were not told one by one; none where they are not the ones that were sampled. */
function untold({ tokens, logprobs, inexact }: Sample, numTold: number): Omit<Piece, "content"> {
  if (inexact !== undefined) return { tokens: [], logprobs: [] };
  return { tokens: tokens.slice(numTold), logprobs: logprobs.slice(numTold) };
}
