/**
 * One answer in the making: its choices are sampled at once, and written whole or as a stream of
 * events. A client that goes away, or one choice that fails, stops the sampling of all.
 */
import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { Chunk, SampleParams, Sampler } from "../engine/types.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { toApiError } from "./api-error.ts";
import { complete, type Choice, type ChoiceJob, type Piece } from "./completion.ts";
import { endConnection } from "./server.ts";
import { EventQueue, type QueueLimits } from "./event-queue.ts";
import type { CompletionRequest } from "./request-schema.ts";
import type { Turns } from "./turns.ts";
import { ReplyWriter } from "./wire.ts";

export interface ReplyOptions {
  readonly sampler: Sampler;
  readonly tokenizer: Tokenizer;
  readonly model: string;
  readonly turns: Turns;
  readonly queue: QueueLimits;
  readonly onError: (error: unknown) => void;
}

/** What a reply has to know of its request: not its messages, which are large and done with. */
export type ReplyWishes = Omit<CompletionRequest, "messages">;

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
    const controller = new AbortController();
    const gone = () => controller.abort(new Error("the client went away"));
    const { signal } = c.req.raw;
    if (signal.aborted) gone();
    signal.addEventListener("abort", gone, { once: true });
    return streamSSE(c, async (stream) => {
      stream.onAbort(gone);
      const queue = new EventQueue(stream, this.options.queue, (reason) => {
        controller.abort(reason);
        stream.abort();
        endConnection(c);
      });
      try {
        await this.writeEvents(queue, controller.signal);
      } catch (error) {
        if (controller.signal.aborted) return;
        const answer = toApiError(error);
        if (answer.status >= 500) this.options.onError(error);
        queue.push(JSON.stringify(answer.body()));
        await queue.drained().catch(() => undefined);
      } finally {
        signal.removeEventListener("abort", gone);
        done();
      }
    });
  }

  private async writeEvents(queue: EventQueue, signal: AbortSignal): Promise<void> {
    const { writer, request } = this;
    const write = (data: object) => queue.push(JSON.stringify(data));
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
    }
    queue.push("[DONE]");
    await queue.drained();
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
      turns: this.options.turns,
      request: this,
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
