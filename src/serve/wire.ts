/** Replies in the words of the protocol: a whole completion, or the chunks of a stream. */
import { numPositions, type Chunk } from "../engine/types.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Choice, Piece } from "./completion.ts";
import type { ReplyWishes } from "./reply.ts";
import type { WrittenCall } from "./tool-calls.ts";

/** What all parts of one reply share. */
export class ReplyWriter {
  private readonly id: string;
  private readonly created = Math.floor(Date.now() / 1000);
  private readonly model: string;
  private readonly request: ReplyWishes;
  private readonly prompt: readonly Chunk[];
  private readonly tokenizer: Tokenizer;

  constructor(
    id: string,
    model: string,
    request: ReplyWishes,
    prompt: readonly Chunk[],
    tokenizer: Tokenizer,
  ) {
    this.id = id;
    this.model = model;
    this.request = request;
    this.prompt = prompt;
    this.tokenizer = tokenizer;
  }

  /** All of a reply; `pieces[i]` are those of choice i. */
  whole(choices: readonly Choice[], pieces: readonly (readonly Piece[])[]) {
    return {
      ...this.head("chat.completion"),
      choices: choices.map((choice, i) => {
        const piece = joined(pieces[i]);
        return {
          index: choice.index,
          message: {
            role: "assistant",
            content: choice.call !== null && piece.content === "" ? null : piece.content,
            refusal: null,
            ...(choice.call === null ? {} : { tool_calls: [toolCall(choice.call)] }),
          },
          logprobs: this.request.logprobs ? this.logprobs(piece) : null,
          finish_reason: choice.finishReason,
          stop_reason: choice.stopString,
          ...(this.request.return_token_ids ? { token_ids: piece.tokens } : {}),
        };
      }),
      usage: this.usage(choices),
      ...this.promptIds(),
      weights_version: choices[0]?.weightsVersion ?? -1,
    };
  }

  /** The first chunk of a choice: who speaks. */
  opening(index: number) {
    const delta = { role: "assistant", content: "" };
    return { ...this.chunk(index, delta, null), ...this.promptIds() };
  }

  piece(index: number, piece: Piece) {
    const chunk = this.chunk(index, { content: piece.content }, null);
    const [choice] = chunk.choices;
    const extras = {
      ...(this.request.logprobs ? { logprobs: this.logprobs(piece) } : {}),
      ...(this.request.return_token_ids ? { token_ids: piece.tokens } : {}),
    };
    return { ...chunk, choices: [{ ...choice, ...extras }] };
  }

  /** A chunk that says nothing. */
  alive() {
    return this.chunk(0, {}, null);
  }

  /** The last chunks of a choice: its call, and why it ended. */
  endings({ index, finishReason, stopString, weightsVersion, call }: Choice): object[] {
    const chunk = this.chunk(index, {}, finishReason);
    const choices = [{ ...chunk.choices[0], stop_reason: stopString }];
    const ending = { ...chunk, choices, weights_version: weightsVersion };
    if (call === null) return [ending];
    return [this.chunk(index, { tool_calls: [{ index: 0, ...toolCall(call) }] }, null), ending];
  }

  /** The chunk behind all choices, for those who ask for it. */
  usageChunk(choices: readonly Choice[]) {
    return { ...this.head("chat.completion.chunk"), choices: [], usage: this.usage(choices) };
  }

  private head(object: string) {
    return { id: this.id, object, created: this.created, model: this.model };
  }

  private chunk(index: number, delta: object, finishReason: string | null) {
    const choice = { index, delta, logprobs: null, finish_reason: finishReason };
    return { ...this.head("chat.completion.chunk"), choices: [choice] };
  }

  private logprobs({ tokens, logprobs }: Piece) {
    const content = tokens.map((id, i) => {
      const isKnown = this.tokenizer.hasId(id);
      return {
        token: isKnown ? this.tokenizer.decode([id]) : "",
        logprob: logprobs[i],
        bytes: isKnown ? [...this.tokenizer.bytes(id)] : null,
        top_logprobs: [],
      };
    });
    return { content, refusal: null };
  }

  private promptIds() {
    if (!this.request.return_token_ids) return {};
    const pad = this.tokenizer.imagePadId;
    const ids = this.prompt.flatMap((chunk) =>
      chunk.type === "text"
        ? [...chunk.tokens]
        : Array.from({ length: chunk.image.numTokens }, () => pad),
    );
    return { prompt_token_ids: ids };
  }

  private usage(choices: readonly Choice[]) {
    const prompt = numPositions(this.prompt);
    const completion = choices.reduce((total, { numTokens }) => total + numTokens, 0);
    return {
      prompt_tokens: prompt,
      completion_tokens: completion,
      total_tokens: prompt + completion,
    };
  }
}

function toolCall({ id, ...called }: WrittenCall) {
  return { id, type: "function", function: called };
}

function joined(pieces: readonly Piece[]): Piece {
  return {
    content: pieces.map(({ content }) => content).join(""),
    tokens: pieces.flatMap(({ tokens }) => tokens),
    logprobs: pieces.flatMap(({ logprobs }) => logprobs),
  };
}
