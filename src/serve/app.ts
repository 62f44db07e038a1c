/**
 * An OpenAI-compatible API over any sampler: chat completions with images, streamed or whole, models,
 * health. It holds no state but the count of its running requests; batching is the engine's. A client
 * that goes away stops its sampling. Left out: tools, other response formats, penalties, log-probabilities
 * of tokens that were not sampled.
 */
import { timingSafeEqual } from "node:crypto";
import { Hono, type Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { Sampler } from "../engine/types.ts";
import { ApiError, schemaError, toApiError } from "./api-error.ts";
import { paramsOf } from "./completion.ts";
import { toPrompt, type ImageLimits, type PromptFormat } from "./prompt.ts";
import { Reply } from "./reply.ts";
import { completionRequestSchema, type CompletionRequest } from "./request-schema.ts";

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

export interface ServeLimits extends ImageLimits {
  readonly maxBodyBytes: number;
  /** Completions at work or waiting; one more is turned away with 429. */
  readonly maxRequests: number;
}

export const defaultLimits: ServeLimits = {
  maxBodyBytes: 64 * 2 ** 20,
  maxImages: 16,
  maxImagePixels: 40_000_000,
  maxRequests: 256,
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
  const replies = { sampler, tokenizer, model, onError };
  let numRunning = 0;

  const app = new Hono();
  app.onError((error, c) => {
    const answer = toApiError(error);
    const isGone = c.req.raw.signal.aborted;
    if (answer.status >= 500 && !isGone) onError(error);
    if (answer.status === 429) c.header("Retry-After", "1");
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
  const tooLarge = () => {
    throw new ApiError(413, `the body is larger than ${limits.maxBodyBytes} bytes`);
  };
  const sized = bodyLimit({ maxSize: limits.maxBodyBytes, onError: tooLarge });
  app.post("/v1/chat/completions", sized, async (c) => {
    if (numRunning >= limits.maxRequests)
      throw new ApiError(429, `${numRunning} requests are waiting already`);
    numRunning++;
    let isStream = false;
    const done = () => {
      numRunning--;
    };
    try {
      const request = await readRequest(c, model);
      const prompt = await toPrompt(request, options.format, limits);
      const params = paramsOf(request, prompt, sampler.capabilities.maxPositions);
      isStream = request.stream === true;
      const reply = new Reply(replies, request, prompt, params);
      return isStream ? reply.stream(c, done) : await reply.whole(c);
    } finally {
      if (!isStream) done();
    }
  });
  return app;
}

async function readRequest(c: Context, model: string): Promise<CompletionRequest> {
  // Pages of other origins can post plain text here without being asked for leave, but not JSON.
  if (!/^application\/json\b/i.test(c.req.header("content-type") ?? ""))
    throw new ApiError(415, "send the body as application/json");
  const json: unknown = await c.req.json().catch((error: unknown) => {
    if (error instanceof SyntaxError)
      throw new ApiError(400, `the body is not JSON: ${error.message}`);
    throw error;
  });
  const body = completionRequestSchema.safeParse(json);
  if (!body.success) throw schemaError(body.error);
  checkModel(body.data.model, model);
  return body.data;
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
