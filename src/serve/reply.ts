/**
 * One answer in the making: its choices are sampled at once, and written whole or as a stream of
 * events. A client that goes away, or one choice that fails, stops the sampling of all.
 */
import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import type { Chunk, SampleParams, Sampler } from "../engine/types.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { complete, type Choice, type ChoiceJob, type Piece } from "./completion.ts";
import type { QueueLimits } from "./event-queue.ts";
import { streamEvents } from "./event-stream.ts";
import type { CompletionRequest } from "./request-schema.ts";
import type { ToolFormat } from "./tool-calls.ts";
import type { Turns } from "./turns.ts";
import { ReplyWriter } from "./wire.ts";

export interface ReplyOptions {
  /** How the model speaks of tools. */
  readonly format: ToolFormat;
  /** Told of each choice. */
  readonly onChoice: (choice: Choice) => void;
  readonly sampler: Sampler;
  readonly tokenizer: Tokenizer;
  readonly model: string;
  readonly turns: Turns;
  readonly queue: QueueLimits;
  readonly onError: (error: unknown) => void;
}

/** What a reply has to know of its request: not its messages, which are large and done with. */
export type ReplyWishes = Omit<CompletionRequest, "messages"> & {
  /** The number of the turn in an episode that the client plays; null where it offers no tools. */
  readonly turn: number | null;
};

export class Reply {
  private readonly options: ReplyOptions;
  private readonly request: ReplyWishes;
  private readonly prompt: readonly Chunk[];
  private readonly params: readonly SampleParams[];
  private readonly writer: ReplyWriter;

  constructor(
    options: ReplyOptions,
    request: ReplyWishes,
    prompt: readonly Chunk[],
    params: readonly SampleParams[],
  ) {
    this.options = options;
    this.request = request;
    this.prompt = prompt;
    this.params = params;
    const id = `chatcmpl-${randomUUID()}`;
    this.writer = new ReplyWriter(id, options.model, request, prompt, options.tokenizer);
  }

  async whole(c: Context): Promise<Response> {
    const pieces: Piece[][] = this.params.map(() => []);
    const choices = await this.sample(c.req.raw.signal, (index, piece) =>
      pieces[index].push(piece),
    );
    return c.json(this.writer.whole(choices, pieces));
  }

  stream(c: Context, done: () => void): Response {
    const { writer, request } = this;
    return streamEvents(
      c,
      this.options,
      done,
      () => writer.alive(),
      async (write, signal) => {
        for (const index of this.params.keys()) write(writer.opening(index));
        const choices = await this.sample(
          signal,
          (index, piece) => write(writer.piece(index, piece)),
          (choice) => writer.endings(choice).forEach(write),
        );
        if (request.stream_options?.include_usage === true) write(writer.usageChunk(choices));
      },
    );
  }

  /** All choices at once; when one fails, the others stop. */
  private async sample(
    outer: AbortSignal,
    onPiece: (index: number, piece: Piece) => void,
    onEnd: (choice: Choice) => void = () => {},
  ): Promise<Choice[]> {
    const failed = new AbortController();
    const stop = () => failed.abort(outer.reason);
    if (outer.aborted) stop();
    outer.addEventListener("abort", stop, { once: true });
    const { sampler, tokenizer } = this.options;
    const { turn } = this.request;
    const job: Omit<ChoiceJob, "params" | "index"> = {
      sampler,
      tokenizer,
      prompt: this.prompt,
      keepsStop: this.request.include_stop_str_in_output === true,
      turns: this.options.turns,
      request: this,
      signal: failed.signal,
      tools: turn === null ? null : { format: this.options.format, turn },
    };
    try {
      return await Promise.all(
        this.params.map(async (params, index) => {
          const one = { ...job, params, index };
          const choice = await complete(one, (piece) => onPiece(index, piece));
          this.options.onChoice(choice);
          onEnd(choice);
          return choice;
        }),
      );
    } finally {
      outer.removeEventListener("abort", stop);
      failed.abort(new Error("not needed any more"));
    }
  }
}
