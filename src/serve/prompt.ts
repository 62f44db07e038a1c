/**
 * Messages of a request as the chunks of a prompt: images at the size the model sees, texts through the
 * folder's chat template. Nothing is fetched from other hosts. What a request is going to take is looked
 * at before it is taken: texts by their length.
 */
import type { Chunk } from "../engine/types.ts";
import type { ModelImage } from "../image/model-image.ts";
import { tokenSide } from "../image/preprocessor-config.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { guessKind } from "../task/guess-kind.ts";
import type { ChatMessage, ContentPart, ImagePiece, TextPiece } from "../text/chat.ts";
import type { FarEncoder } from "../text/far-encoder.ts";
import { questionText, type PromptSet } from "../text/prompts.ts";
import { ApiError } from "./api-error.ts";
import type { Share } from "./budget.ts";
import { tooLong } from "./completion.ts";
import { readPictures, type GivenImage, type PictureDesk } from "./pictures.ts";
import type { CompletionRequest, RequestCall, RequestMessage } from "./request-schema.ts";
import { callText, observationOf, offeredTools, type OfferedTools } from "./tool-calls.ts";

/** What prompts are made with, and on whose account. */
export interface PromptTools extends PictureDesk {
  readonly format: EpisodeConfig;
  readonly maxPositions: number;
  readonly encoder: FarEncoder;
}

/**
 * @param share takes the bytes that the prompt holds
 * @throws ApiError 400, 413 or 503, VigorlError("input" | "usage") for messages that cannot become a
 *   prompt
 */
export async function toPrompt(
  request: CompletionRequest,
  tools: PromptTools,
  share: Share,
  signal: AbortSignal,
): Promise<Chunk[]> {
  const { chat } = tools.format;
  const offered = offeredTools(request, tools.format);
  const messages = chatMessages(request, offered, tools.format);
  const given = givenImages(request, tools);
  const read = await readPictures(given, tools, share, signal);
  const images = read.map(({ seen }) => seen);
  const continueFinal = request.continue_final_message === true;
  const options = {
    continueFinal,
    addGenerationPrompt: request.add_generation_prompt ?? !continueFinal,
    tools: offered?.schemas ?? [],
  };
  const pieces = chat.renderPrompt(messages, options);
  if (request.input_ids) return fromIds(request.input_ids, pieces, images, tools);
  const chunks: Chunk[] = [];
  for (const piece of pieces) {
    if (piece.type === "text")
      chunks.push({ type: "text", tokens: await encode(piece.text, tools, signal) });
    else chunks.push({ type: "image", image: images[piece.index] });
  }
  return chunks;
}

async function encode(
  text: string,
  { format, encoder, maxPositions }: PromptTools,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const { tokenizer } = format.chat;
  if (tokenizer.cannotFit(text, maxPositions))
    throw tooLong(`a text of ${text.length} characters does not fit`, maxPositions);
  return text.length > NEAR_CHARACTERS ? encoder.encode(text, signal) : tokenizer.encode(text);
}

/** Up to here a text is tokenised before anybody notices. */
const NEAR_CHARACTERS = 50_000;

/** Images of tools keep their size: a client that enlarges knows how large. */
function givenImages(request: CompletionRequest, { format, maxPositions }: PromptTools) {
  const side = tokenSide(format.preprocessor);
  const asIs = { minPixels: 1, maxPixels: maxPositions * side * side };
  return request.messages.flatMap(({ role, content }): GivenImage[] =>
    typeof content === "string"
      ? []
      : content.flatMap((part) =>
          part.type === "image_url"
            ? [{ url: part.image_url.url, budget: role === "tool" ? asIs : format.budget }]
            : [],
        ),
  );
}

/** The messages as the template takes them; with tools and no system message, as an episode opens. */
function chatMessages(
  { messages }: CompletionRequest,
  offered: OfferedTools | null,
  format: EpisodeConfig,
): ChatMessage[] {
  const asked = messages.find(({ role }) => role === "user");
  const prompts = format.promptsFor(guessKind(asked === undefined ? "" : textOf(asked.content)));
  const calls = new Map<string, RequestCall>();
  const said = messages.map((message, i): ChatMessage => {
    if (message.role === "tool") {
      const call = calls.get(message.tool_call_id);
      if (call !== undefined) return observationOf(message, call, format, prompts);
      const param = `messages.${i}.tool_call_id`;
      throw new ApiError(400, `${param}: no call of this id stands before it`, { param });
    }
    if (message.role !== "assistant") return plainMessage(message);
    const [call] = message.tool_calls ?? [];
    if (call !== undefined) calls.set(call.id, call);
    const text = textOf(message.content);
    const place = `messages.${i}.tool_calls.0`;
    const content = call === undefined ? text : text + callText(call, format, place);
    const { role, reasoning_content } = message;
    return reasoning_content ? { role, content, reasoning_content } : { role, content };
  });
  const isOpened = messages.some(({ role }) => role === "system" || role === "developer");
  if (offered === null || isOpened || asked === undefined) return said;
  const first = messages.indexOf(asked);
  said[first] = withSuffix(said[first], prompts);
  return prompts.system === null ? said : [{ role: "system", content: prompts.system }, ...said];
}

function plainMessage(message: Exclude<RequestMessage, { role: "assistant" | "tool" }>) {
  const { role, content } = message;
  if (role !== "user") return { role: "system" as const, content: textOf(content) };
  if (typeof content === "string") return { role, content };
  const parts = content.map((part): ContentPart =>
    part.type === "text" ? part : { type: "image" },
  );
  return { role, content: parts };
}

function withSuffix(message: ChatMessage, prompts: PromptSet): ChatMessage {
  const { content } = message;
  if (typeof content === "string") return { ...message, content: questionText(prompts, content) };
  const last = content.findLastIndex(({ type }) => type === "text");
  return {
    ...message,
    content: content.map((part, i) =>
      i === last && part.type === "text"
        ? { ...part, text: questionText(prompts, part.text) }
        : part,
    ),
  };
}

function textOf(content: RequestMessage["content"]): string {
  if (typeof content === "string") return content;
  return content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

/** The caller's own ids, if they say what the messages say. */
function fromIds(
  ids: readonly number[],
  pieces: readonly (TextPiece | ImagePiece)[],
  images: readonly ModelImage[],
  { format, maxPositions }: PromptTools,
): Chunk[] {
  if (ids.length > maxPositions) throw tooLong(`${ids.length} input_ids do not fit`, maxPositions);
  const { tokenizer } = format.chat;
  const pad = tokenizer.decode([tokenizer.imagePadId]);
  const rendered = pieces.map((piece) => (piece.type === "text" ? piece.text : pad)).join("");
  const unknown = ids.find((id) => !tokenizer.hasId(id));
  if (unknown !== undefined || tokenizer.decode(ids) !== rendered) {
    throw new ApiError(400, "input_ids: they do not spell the rendered messages", {
      param: "input_ids",
    });
  }
  const chunks: Chunk[] = [];
  let tokens: number[] = [];
  let numImages = 0;
  for (const id of ids) {
    if (id !== tokenizer.imagePadId) {
      tokens.push(id);
      continue;
    }
    chunks.push({ type: "text", tokens }, { type: "image", image: images[numImages++] });
    tokens = [];
  }
  if (tokens.length > 0) chunks.push({ type: "text", tokens });
  return chunks;
}
