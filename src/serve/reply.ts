/**
 * One answer in the making: its choices are sampled at once, and written whole or as a stream of
 * events. A client that goes away, or one choice that fails, stops the sampling of all.
 */
import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import { streamSSE, type SSEStreamingApi } from "hono/streaming";
import type { Chunk, SampleParams, Sampler } from "../engine/types.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { toApiError } from "./api-error.ts";
import { complete, type Choice, type ChoiceJob, type Piece } from "./completion.ts";
import type { CompletionRequest } from "./request-schema.ts";
import { ReplyWriter } from "./wire.ts";

export interface ReplyOptions {
  readonly sampler: Sampler;
  readonly tokenizer: Tokenizer;
  readonly model: string;
  readonly onError: (error: unknown) => void;
}

export class Reply {
  private readonly options: ReplyOptions;
  private readonly request: CompletionRequest;
  private readonly prompt: readonly Chunk[];
  private readonly params: readonly SampleParams[];
  private readonly writer: ReplyWriter;

  constructor(
    options: ReplyOptions,
    request: CompletionRequest,
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
    const controller = new AbortController();
    const gone = () => controller.abort(new Error("the client went away"));
    const { signal } = c.req.raw;
    if (signal.aborted) gone();
    signal.addEventListener("abort", gone, { once: true });
    return streamSSE(c, async (stream) => {
      stream.onAbort(gone);
      try {
        await this.writeEvents(stream, controller.signal);
      } catch (error) {
        if (controller.signal.aborted) return;
        const answer = toApiError(error);
        if (answer.status >= 500) this.options.onError(error);
        await stream.writeSSE({ data: JSON.stringify(answer.body()) });
      } finally {
        signal.removeEventListener("abort", gone);
        done();
      }
    });
  }

  private async writeEvents(stream: SSEStreamingApi, signal: AbortSignal): Promise<void> {
    const { writer, request } = this;
    // Events go out one after the other, however many choices are at work.
    let written: Promise<unknown> = Promise.resolve();
    const write = (data: object) => {
      written = written.then(() => stream.writeSSE({ data: JSON.stringify(data) }));
    };
    for (const index of this.params.keys()) write(writer.opening(index));
    const alive = setInterval(() => write(writer.alive()), ALIVE_MS);
    try {
      const choices = await this.sample(
        signal,
        (index, piece) => write(writer.piece(index, piece)),
        (choice) => write(writer.ending(choice)),
      );
      if (request.stream_options?.include_usage === true) write(writer.usageChunk(choices));
    } finally {
      clearInterval(alive);
      await written;
    }
    await stream.writeSSE({ data: "[DONE]" });
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
    const job: Omit<ChoiceJob, "params" | "index"> = {
      sampler,
      tokenizer,
      prompt: this.prompt,
      keepsStop: this.request.include_stop_str_in_output === true,
      signal: failed.signal,
    };
    try {
      return await Promise.all(
        this.params.map(async (params, index) => {
          const one = { ...job, params, index };
          const choice = await complete(one, (piece) => onPiece(index, piece));
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

/** How often clients and proxies are told that nobody is dead while a request waits. */
const ALIVE_MS = 15_000;
