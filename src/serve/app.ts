/**
 * An OpenAI-compatible API over any sampler: chat completions with images, streamed or whole, models,
 * health. It holds no state but what its running requests take; batching is the engine's. A client that
 * goes away stops its sampling. Whatever a request is made of is bounded before it is made, and what
 * takes long happens in other threads. Left out: tools, other response formats, penalties, log-probabilities
 * of tokens that were not sampled.
 */
import { timingSafeEqual } from "node:crypto";
import { Hono } from "hono";
import type { Sampler } from "../engine/types.ts";
import { PicturePool } from "../image/pool.ts";
import { FarEncoder } from "../text/far-encoder.ts";
import { ApiError, schemaError, toApiError } from "./api-error.ts";
import { readJson, type BodyLimits } from "./body.ts";
import { Budget } from "./budget.ts";
import { paramsOf } from "./completion.ts";
import type { QueueLimits } from "./event-queue.ts";
import { toPrompt, type ImageLimits, type PromptFormat } from "./prompt.ts";
import { Reply } from "./reply.ts";
import { completionRequestSchema, type CompletionRequest } from "./request-schema.ts";
import { Turns } from "./turns.ts";
import { whenSent } from "./server.ts";

export interface AppOptions {
  readonly sampler: Sampler;
  readonly format: PromptFormat;
  /** The name that requests have to use. */
  readonly model: string;
  /** Asked of every request but `/health` where set. */
  readonly apiKey?: string;
  readonly limits?: Partial<ServeLimits>;
  /** Gets errors that are not the client's. */
  readonly onError?: (error: unknown) => void;
}

export interface ServeLimits extends ImageLimits, BodyLimits, QueueLimits {
  /** Completions at work or waiting; one more is turned away with 429. */
  readonly maxRequests: number;
  /** Of bodies and pictures of all requests; what goes beyond is turned away with 503. */
  readonly maxHeldBytes: number;
  /** Of all pictures that wait to be decoded. */
  readonly maxWaitingPixels: number;
  /** Samples that the engine has before it; the others wait in fair order. */
  readonly samplesAtOnce: number;
}

export const defaultLimits: ServeLimits = {
  maxBodyBytes: 32 * 2 ** 20,
  bodyIdleMs: 15_000,
  bodyMs: 120_000,
  maxImages: 16,
  maxImagePixels: 40_000_000,
  maxRequests: 256,
  maxHeldBytes: 512 * 2 ** 20,
  maxWaitingPixels: 200_000_000,
  samplesAtOnce: 64,
  maxWaiting: 2 * 2 ** 20,
  stallMs: 30_000,
};

/** The API as a function of requests; it listens nowhere. */
export function createApp(options: AppOptions): Hono {
  const limits = { ...defaultLimits, ...options.limits };
  const { sampler, model } = options;
  const created = Math.floor(Date.now() / 1000);
  const max_model_len = sampler.capabilities.maxPositions;
  const card = { id: model, object: "model", created, owned_by: "vigorl", max_model_len };
  const { tokenizer } = options.format.chat;
  const onError = (error: unknown) => options.onError?.(error);
  const turns = new Turns(limits.samplesAtOnce);
  const replies = { sampler, tokenizer, model, turns, queue: limits, onError };
  const held = new Budget(limits.maxHeldBytes, "bytes");
  const tools = {
    format: options.format,
    limits,
    maxPositions: max_model_len,
    pool: new PicturePool(),
    encoder: new FarEncoder(tokenizer.source),
    pixels: new Budget(limits.maxWaitingPixels, "pixels"),
  };
  const bounds = { maxValues: MAX_VALUES + max_model_len, maxDepth: MAX_DEPTH };
  let numRunning = 0;

  const app = new Hono();
  app.onError((error, c) => {
    const answer = toApiError(error);
    const isGone = c.req.raw.signal.aborted;
    if (answer.status === 500 && !isGone) onError(error);
    if (answer.status === 429 || answer.status === 503) c.header("Retry-After", "1");
    // The rest of a body that was not read would be taken for the next request.
    if (answer.status === 408 || answer.status === 413) c.header("Connection", "close");
    return c.json(answer.body(), answer.status);
  });
  app.notFound((c) => {
    const error = new ApiError(404, `there is no ${c.req.method} ${c.req.path}`);
    return c.json(error.body(), 404);
  });
  app.get("/health", (c) => c.json({ status: "ok", running: numRunning }));
  app.use("/v1/*", async (c, next) => {
    checkKey(c.req.header("authorization"), options.apiKey);
    await next();
  });
  app.get("/v1/models", (c) => c.json({ object: "list", data: [card] }));
  app.get("/v1/models/:id{.+}", (c) => {
    checkModel(c.req.param("id"), model);
    return c.json(card);
  });
  app.post("/v1/chat/completions", async (c) => {
    const share = held.share();
    let done = () => share.free();
    let isStream = false;
    try {
      // A body on its way takes bytes, but nobody's place.
      const body = await readJson(c, limits, bounds, share);
      const request = readRequest(body, model);
      if (numRunning >= limits.maxRequests)
        throw new ApiError(429, `${numRunning} requests are waiting already`);
      numRunning++;
      done = once(() => {
        numRunning--;
        share.free();
      });
      const prompt = await toPrompt(request, tools, share, c.req.raw.signal);
      const params = paramsOf(request, prompt, max_model_len);
      const { messages: _, ...wishes } = request;
      const reply = new Reply(replies, wishes, prompt, params);
      if (request.stream !== true) return await reply.whole(c);
      isStream = true;
      return reply.stream(c, () => whenSent(c, done));
    } finally {
      if (!isStream) whenSent(c, done);
    }
  });
  return app;
}

/** Values of a body beside its ids: messages, parts and parameters. */
const MAX_VALUES = 50_000;
const MAX_DEPTH = 32;

function readRequest(json: unknown, model: string): CompletionRequest {
  const body = completionRequestSchema.safeParse(json);
  if (!body.success) throw schemaError(body.error);
  checkModel(body.data.model, model);
  return body.data;
}

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}

function checkModel(asked: string, model: string): void {
  if (asked === model) return;
  throw new ApiError(404, `there is no model ${JSON.stringify(asked)}; this server has ${model}`, {
    param: "model",
    code: "model_not_found",
  });
}

function checkKey(header: string | undefined, key: string | undefined): void {
  if (key === undefined) return;
  const given = Buffer.from(header ?? "");
  const wanted = Buffer.from(`Bearer ${key}`);
  if (given.length === wanted.length && timingSafeEqual(given, wanted)) return;
  throw new ApiError(401, "wrong or missing API key; send it as Authorization: Bearer …", {
    code: "invalid_api_key",
  });
}
