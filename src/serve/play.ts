/**
 * Questions that the server plays itself: it reads the pictures, lets the model look with its tools, and
 * replies with the answer. `POST /v1/ask` says it in our words, a chat completion with
 * `vigorl: {play: true}` in those of the protocol; both are `vigorl ask` behind an address.
 */
import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import type { Sampler } from "../engine/types.ts";
import { encodePng } from "../image/decode.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { ModelCard } from "../task/model-card.ts";
import { recordPicture } from "../task/pictures.ts";
import { answerJson, askQuestion, type Answer } from "../task/question.ts";
import type { TurnState } from "../task/turn.ts";
import type { Ticket } from "./admission.ts";
import { ApiError } from "./api-error.ts";
import type { AskEvent, AskReply, AskRequest, PlayedQuestion } from "./ask-request.ts";
import type { QueueLimits } from "./event-queue.ts";
import { streamEvents } from "./event-stream.ts";
import { readPictures, type PictureDesk } from "./pictures.ts";
import type { CompletionRequest } from "./request-schema.ts";
import type { Turns } from "./turns.ts";

export interface PlayOptions {
  readonly sampler: Sampler;
  readonly format: EpisodeConfig;
  readonly desk: PictureDesk;
  readonly model: string;
  readonly card: ModelCard | null;
  readonly turns: Turns;
  readonly queue: QueueLimits;
  readonly onError: (error: unknown) => void;
  readonly onAnswer: (answer: Answer) => void;
}

/** Answers `POST /v1/ask`. */
export async function replyToAsk(
  c: Context,
  asked: AskRequest,
  options: PlayOptions,
  ticket: Ticket,
): Promise<Response> {
  const { image, images = image === undefined ? [] : [image] } = asked;
  const { temperature } = asked;
  const question: PlayedQuestion = {
    ...asked,
    urls: images,
    ...(temperature === undefined ? {} : { sampling: { temperature } }),
  };
  const play = await prepared(question, options, ticket.share, c.req.raw.signal);
  const id = `ask-${randomUUID()}`;
  if (asked.stream !== true)
    return c.json(await replyOf(await play(c.req.raw.signal), id, options));
  return streamEvents(
    c,
    options,
    ticket.goesOn(),
    () => ({ type: "alive" }) satisfies AskEvent,
    async (write, signal) => {
      const tell = (event: AskEvent) => write(event);
      const answer = await play(signal, {
        onText: (text, turn) => text !== "" && tell({ type: "text", turn: turn - 1, text }),
        onTurn: (state) => {
          for (const crop of newCrops(state)) tell({ type: "crop", ...crop });
        },
      });
      tell({ type: "answer", ...(await replyOf(answer, id, options)) });
    },
  );
}

/** Answers a chat completion that lets the server play. */
export async function replyToPlayed(
  c: Context,
  request: CompletionRequest,
  options: PlayOptions,
  ticket: Ticket,
): Promise<Response> {
  const { signal: until } = c.req.raw;
  const play = await prepared(playedQuestion(request), options, ticket.share, until);
  const head = {
    id: `chatcmpl-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: options.model,
  };
  const chunk = (delta: object, finish_reason: string | null = null) => ({
    ...head,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
  });
  if (request.stream !== true) {
    const answer = await play(until);
    const message = {
      role: "assistant",
      content: answer.answer ?? "",
      refusal: null,
      reasoning_content: answer.turns.join("\n"),
    };
    const choice = { index: 0, message, logprobs: null, finish_reason: finishOf(answer) };
    return c.json({
      ...head,
      object: "chat.completion",
      choices: [choice],
      usage: usageOf(answer),
      vigorl: await replyOf(answer, head.id, options),
    });
  }
  return streamEvents(
    c,
    options,
    ticket.goesOn(),
    () => chunk({}),
    async (write, signal) => {
      write(chunk({ role: "assistant", content: "" }));
      let told = 1;
      const answer = await play(signal, {
        onText: (text, turn) => {
          const reasoning_content = turn > told ? `\n${text}` : text;
          told = turn;
          if (reasoning_content !== "") write(chunk({ reasoning_content }));
        },
      });
      write(chunk({ content: answer.answer ?? "" }));
      const ending = chunk({}, finishOf(answer));
      write({ ...ending, vigorl: await replyOf(answer, head.id, options) });
      if (request.stream_options?.include_usage === true)
        write({ ...chunk({}), choices: [], usage: usageOf(answer) });
    },
  );
}

/** The question of a chat completion. @throws ApiError 400 for what no question says */
function playedQuestion(request: CompletionRequest): PlayedQuestion {
  const { messages, tools, top_p, top_k, seed, temperature } = request;
  const idle = [
    "n",
    "stop",
    "logprobs",
    "input_ids",
    "return_token_ids",
    "continue_final_message",
    "include_stop_str_in_output",
  ] as const;
  const clash = idle.find((key) => {
    const value = request[key];
    return (
      value !== undefined && value !== null && value !== false && !(key === "n" && value === 1)
    );
  });
  if (clash !== undefined)
    throw new ApiError(400, `${clash}: does not go with vigorl.play`, { param: clash });
  if (tools && tools.length > 0)
    throw new ApiError(400, "tools: with vigorl.play the server plays its own; leave them out", {
      param: "tools",
    });
  const opens = messages[0].role === "system" || messages[0].role === "developer";
  const [first, ...others] = opens ? messages.slice(1) : messages;
  if (first?.role !== "user" || others.length > 0)
    throw new ApiError(400, "messages: with vigorl.play send one question, as one user message", {
      param: "messages",
    });
  const parts =
    typeof first.content === "string"
      ? [{ type: "text" as const, text: first.content }]
      : first.content;
  const text = (content: string | readonly { readonly text: string }[]) =>
    typeof content === "string" ? content : content.map((part) => part.text).join("");
  const [opening] = messages;
  const maxTokens = request.max_completion_tokens ?? request.max_tokens;
  const sampling = {
    ...(typeof temperature === "number" ? { temperature } : {}),
    ...(typeof top_p === "number" ? { topP: top_p } : {}),
    ...(typeof top_k === "number" ? { topK: Math.max(0, top_k) } : {}),
  };
  return {
    urls: parts.flatMap((part) => (part.type === "image_url" ? [part.image_url.url] : [])),
    question: parts.map((part) => (part.type === "text" ? part.text : "")).join(""),
    ...(opening.role === "system" || opening.role === "developer"
      ? { system: text(opening.content) }
      : {}),
    ...(typeof seed === "number" ? { seed } : {}),
    ...(typeof maxTokens === "number" ? { maxTokens } : {}),
    sampling,
  };
}

interface Listeners {
  readonly onText?: (text: string, turn: number) => void;
  readonly onTurn?: (state: TurnState) => void;
}

/** Reads the pictures; what it gives plays the question. */
async function prepared(
  asked: PlayedQuestion,
  options: PlayOptions,
  share: Ticket["share"],
  signal: AbortSignal,
): Promise<(signal: AbortSignal, listeners?: Listeners) => Promise<Answer>> {
  const { urls, question, kind, seed } = asked;
  if (urls.length === 0) throw new ApiError(400, "there is no picture to ask about");
  if (question.trim() === "") throw new ApiError(400, "the question is empty");
  const { budget } = options.format;
  const given = urls.map((url) => ({ url, budget }));
  const read = await readPictures(given, options.desk, share, signal, true);
  const pictures = read.map(({ pixels, seen }, i) => recordPicture(i, pixels!, seen));
  const config = configFor(asked, options.format);
  const request = {};
  return async (until, listeners = {}) => {
    const sampler: Sampler = {
      capabilities: options.sampler.capabilities,
      close: () => options.sampler.close(),
      sample: (prompt, params, how) =>
        options.turns.take(request, until, () => options.sampler.sample(prompt, params, how)),
    };
    const answer = await askQuestion(sampler, config, "the request", { pictures }, question, {
      signal: until,
      card: options.card,
      ...(kind === undefined ? {} : { kind }),
      ...(seed === undefined ? {} : { seed }),
      ...listeners,
    });
    options.onAnswer(answer);
    return answer;
  };
}

function configFor({ system, sampling, maxTokens }: PlayedQuestion, format: EpisodeConfig) {
  const { promptsFor, limits } = format;
  return {
    ...format,
    sampling: { ...format.sampling, ...sampling },
    ...(maxTokens === undefined
      ? {}
      : { limits: { ...limits, maxTotalTokens: Math.min(maxTokens, limits.maxTotalTokens) } }),
    ...(system === undefined
      ? {}
      : { promptsFor: (kind: Answer["kind"]) => ({ ...promptsFor(kind), system }) }),
  };
}

async function replyOf(answer: Answer, id: string, { model }: PlayOptions): Promise<AskReply> {
  const { crops, toolUses, ...rest } = answerJson(answer);
  const pngs = await Promise.all(answer.crops.map((crop) => encodePng(crop)));
  return {
    id,
    object: "answer",
    model,
    ...rest,
    toolUses: [...toolUses],
    crops: crops.map((crop, i) => ({
      ...crop,
      url: `data:image/png;base64,${Buffer.from(pngs[i]).toString("base64")}`,
    })),
  } as AskReply;
}

/** What tools showed in the last turn. */
function newCrops({ pictures, turns }: TurnState) {
  const last = turns.length - 1;
  return pictures.flatMap(({ tool, turn, of, box }) =>
    tool === null || turn !== last
      ? []
      : [{ ...box, frame: "original" as const, image: of, turn, tool }],
  );
}

function finishOf({ stopReason }: Answer): "stop" | "length" {
  const isCut = ["turnTokenLimit", "tokenLimit", "contextLimit"].includes(stopReason);
  return isCut ? "length" : "stop";
}

function usageOf({ trajectory: { numTokens } }: Answer) {
  const { prompt, model, environment, forced } = numTokens;
  const prompt_tokens = prompt + environment + forced;
  return { prompt_tokens, completion_tokens: model, total_tokens: prompt_tokens + model };
}
