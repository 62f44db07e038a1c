/**
 * An OpenAI-compatible API over any sampler: chat completions with images and tools, streamed or whole,
 * and questions that the server plays to their answer. It holds no state but what its running requests
 * take; batching is the engine's. A client that goes away stops its sampling. Whatever a request is made
 * of is bounded before it is made, and what takes long happens in other threads. Left out: other response
 * formats, penalties, log-probabilities of tokens that were not sampled.
 */
import { timingSafeEqual } from "node:crypto";
import { Hono } from "hono";
import { cors } from "hono/cors";
import type { z } from "zod";
import type { Sampler } from "../engine/types.ts";
import { PicturePool } from "../image/pool.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { ModelCard } from "../task/model-card.ts";
import { FarEncoder } from "../text/far-encoder.ts";
import { Admission, type AdmissionLimits } from "./admission.ts";
import { ApiError, schemaError, toApiError } from "./api-error.ts";
import { askRequestSchema } from "./ask-request.ts";
import { Budget } from "./budget.ts";
import { paramsOf, type Choice, type SamplingDefaults } from "./completion.ts";
import type { QueueLimits } from "./event-queue.ts";
import { ServerMetrics } from "./metrics.ts";
import { openApi } from "./openapi.ts";
import { askPage, pagePolicy } from "./page.ts";
import type { ImageLimits, PictureDesk } from "./pictures.ts";
import { replyToAsk, replyToPlayed } from "./play.ts";
import { toPrompt, type PromptTools } from "./prompt.ts";
import { Reply } from "./reply.ts";
import { completionRequestSchema, type CompletionRequest } from "./request-schema.ts";
import { whenSent } from "./server.ts";
import { isOffering } from "./tool-calls.ts";
import { Turns } from "./turns.ts";

export interface AppOptions {
  readonly sampler: Sampler;
  /** How the model is spoken to, and how questions are played. */
  readonly format: EpisodeConfig;
  /** The name that requests have to use. */
  readonly model: string;
  /** Asked of every request under `/v1` and of `/metrics` where set. */
  readonly apiKey?: string;
  /** Pages of these origins may call it from a browser; "*" is any. */
  readonly corsOrigins?: readonly string[];
  /** What the model says it is for: told beside its name, and questions beyond it are doubted. */
  readonly card?: ModelCard | null;
  readonly limits?: Partial<ServeLimits>;
  /** How completions are sampled where a request does not say it; at temperature 1 where absent. */
  readonly sampling?: SamplingDefaults;
  /** Gets errors that are not the client's. */
  readonly onError?: (error: unknown) => void;
}

export interface ServeLimits extends ImageLimits, AdmissionLimits, QueueLimits {
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
  const { sampler, model, format } = options;
  const max_model_len = sampler.capabilities.maxPositions;
  const { tokenizer } = format.chat;
  const onError = (error: unknown) => options.onError?.(error);
  const bounds = { maxValues: MAX_VALUES + max_model_len, maxDepth: MAX_DEPTH };
  const admission = new Admission(limits, bounds);
  const metrics = new ServerMetrics(admission);
  const desk: PictureDesk = {
    limits,
    pool: new PicturePool(),
    pixels: new Budget(limits.maxWaitingPixels, "pixels"),
    preprocessor: format.preprocessor,
  };
  const common = { sampler, format, model, turns: new Turns(limits.samplesAtOnce), queue: limits };
  const { card = null } = options;
  const playing = { ...common, card, desk, onError, onAnswer: metrics.answer.bind(metrics) };
  const onChoice = ({ numTokens }: Choice) => metrics.wrote(numTokens);
  const replies = { ...common, tokenizer, onError, onChoice };
  const encoder = new FarEncoder(tokenizer.source);
  const prompts: PromptTools = { ...desk, format, maxPositions: max_model_len, encoder };

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
  app.use(async (c, next) => {
    const started = performance.now();
    await next();
    const path = paths.find((own) => c.req.path === own) ?? "other";
    whenSent(c, () => metrics.request(path, c.res.status, (performance.now() - started) / 1000));
  });
  if (options.corsOrigins !== undefined) app.use(cors({ origin: [...options.corsOrigins] }));
  for (const path of ["/v1/*", "/metrics"])
    app.use(path, async (c, next) => {
      checkKey(c.req.header("authorization"), options.apiKey);
      await next();
    });

  app.get("/", (c) => {
    c.header("Content-Security-Policy", pagePolicy());
    c.header("X-Content-Type-Options", "nosniff");
    return c.html(askPage());
  });
  app.get("/health", (c) => c.json({ status: "ok", running: admission.numRunning }));
  app.get("/openapi.json", (c) => c.json(openApi()));
  app.get("/metrics", async (c) => {
    const { body, type } = await metrics.text();
    return c.body(body, 200, { "Content-Type": type });
  });
  const created = Math.floor(Date.now() / 1000);
  const entry = {
    id: model,
    object: "model",
    created,
    owned_by: "vigorl",
    max_model_len,
    ...(card !== null ? { vigorl: card } : {}),
  };
  app.get("/v1/models", (c) => c.json({ object: "list", data: [entry] }));
  app.get("/v1/models/:id{.+}", (c) => {
    checkModel(c.req.param("id"), model);
    return c.json(entry);
  });
  app.post("/v1/ask", (c) =>
    admission.admit(
      c,
      (json) => readAs(askRequestSchema, json, model),
      (asked, ticket) => replyToAsk(c, asked, playing, ticket),
    ),
  );
  app.post("/v1/chat/completions", (c) =>
    admission.admit(
      c,
      (json) => readAs(completionRequestSchema, json, model),
      async (request, ticket) => {
        const asked = { format: formatOf(request, format) };
        if (request.vigorl?.play === true)
          return replyToPlayed(c, request, { ...playing, ...asked }, ticket);
        const desks = { ...prompts, ...asked };
        const prompt = await toPrompt(request, desks, ticket.share, c.req.raw.signal);
        const params = paramsOf(request, prompt, max_model_len, options.sampling);
        const { messages, ...wishes } = request;
        const turn = isOffering(request)
          ? messages.filter(({ role }) => role === "assistant").length
          : null;
        const reply = new Reply({ ...replies, ...asked }, { ...wishes, turn }, prompt, params);
        if (request.stream !== true) return await reply.whole(c);
        return reply.stream(c, ticket.goesOn());
      },
    ),
  );
  const paths = app.routes.map(({ path }) => path).filter((path) => !/[*:]/.test(path));
  return app;
}

/** How the model is spoken to, with what a request says of its chat template. @throws VigorlError("usage") */
function formatOf(
  { chat_template_kwargs: said }: CompletionRequest,
  format: EpisodeConfig,
): EpisodeConfig {
  const thinking = said?.enable_thinking ?? undefined;
  return thinking === undefined ? format : { ...format, chat: format.chat.withThinking(thinking) };
}

/** Values of a body beside its ids: messages, parts and parameters. */
const MAX_VALUES = 50_000;
const MAX_DEPTH = 32;

function readAs<T extends { readonly model?: string | undefined }>(
  schema: z.ZodType<T>,
  json: unknown,
  model: string,
): T {
  const body = schema.safeParse(json);
  if (!body.success) throw schemaError(body.error);
  checkModel(body.data.model ?? model, model);
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
