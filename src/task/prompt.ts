/**
 * What a model is shown: the opening of a task, and the observation after a tool call, as tokens and
 * images. Search, SFT, RL and evaluation all show it through here.
 */
import { unroundedSize } from "../image/model-image.ts";
import { VigorlError } from "../core/errors.ts";
import type { ChatFormat, ChatMessage, ContentPart, ImagePiece, TokenPiece } from "../text/chat.ts";
import {
  observationText,
  observationTexts,
  questionText,
  type PromptSet,
} from "../text/prompts.ts";
import { templateTools, type EpisodeConfig } from "./episode-config.ts";
import type { Picture } from "./pictures.ts";
import type { TaskRecord } from "./record.ts";
import type { ToolUse } from "./tools/tool.ts";
import type { AnswerView, Author, AuthoredChunk } from "./trajectory.ts";

/** The messages that open a task: the system prompt, then the images followed by the question. */
export function promptMessages(
  record: Pick<TaskRecord, "question" | "images">,
  prompts: PromptSet,
): ChatMessage[] {
  const content: ContentPart[] = [
    ...record.images.map(() => ({ type: "image" }) as const),
    { type: "text", text: questionText(prompts, record.question) },
  ];
  const user: ChatMessage = { role: "user", content };
  return prompts.system === null ? [user] : [{ role: "system", content: prompts.system }, user];
}

/** The tokens and images that open a task, up to where the model begins to write. */
export function promptChunks(
  config: EpisodeConfig,
  record: Pick<TaskRecord, "question" | "images" | "kind">,
  pictures: readonly ShownPicture[],
): AuthoredChunk[] {
  const messages = promptMessages(record, config.promptsFor(record.kind));
  const tools = templateTools(config);
  const pieces = config.chat.encodePrompt(messages, { addGenerationPrompt: true, tools });
  return openedTurn(config.chat, authored(pieces, pictures, "prompt", 0), 0);
}

/**
 * What follows a tool call: the end of the model's turn (unless `ended`, it wrote that itself), the
 * observation, and the opening of the next turn.
 */
export function observationChunks(
  config: EpisodeConfig,
  use: ToolUse,
  picture: Picture | null,
  ended: boolean,
): AuthoredChunk[] {
  const message = observationMessage(config, use);
  const pieces = config.chat.encodeDelta([message], { ended, addGenerationPrompt: true });
  const chunks = authored(pieces, picture === null ? [] : [picture], "environment", use.turn);
  return openedTurn(config.chat, chunks, use.turn + 1);
}

/** The observation as a message of the conversation. */
export function observationMessage(
  { dialect }: Pick<EpisodeConfig, "dialect">,
  { text, gives }: ToolUse,
): ChatMessage {
  if (gives === null) return { role: "user", content: observationText(text, dialect) };
  const [before, after] = observationTexts(text, dialect);
  return {
    role: "user",
    content: [{ type: "text", text: before }, { type: "image" }, { type: "text", text: after }],
  };
}

/** How the model's coordinates are to be read: they speak of the first picture. */
export function answerView(
  config: Pick<EpisodeConfig, "coordinates" | "budget" | "preprocessor">,
  { seen, box }: Picture,
): AnswerView {
  const { coordinates, budget, preprocessor } = config;
  const original = { widthPx: box.x1 - box.x0, heightPx: box.y1 - box.y0 };
  const { widthPx, heightPx } = seen;
  const unrounded = unroundedSize(original, budget, preprocessor);
  const isSame = unrounded.widthPx === widthPx && unrounded.heightPx === heightPx;
  const resized = { widthPx, heightPx };
  return { original, resized, ...(isSame ? {} : { unrounded }), coordinates };
}

/**
 * A prompt up to where the model begins to write, with the thought that its template opens, if it does,
 * as a chunk of its own: what is read of a turn begins there.
 */
export function openedTurn(
  chat: ChatFormat,
  prompt: readonly AuthoredChunk[],
  turn: number,
): AuthoredChunk[] {
  const last = prompt.at(-1);
  if (chat.opening === "" || last?.type !== "text") return [...prompt];
  const opening = chat.tokenizer.encode(chat.opening);
  const before = last.tokens.slice(0, last.tokens.length - opening.length);
  if ([...before, ...opening].some((token, i) => token !== last.tokens[i]))
    throw new VigorlError("input", "the chat template opens a thought within a token", {
      hint: `its tokenizer needs a token for ${chat.opening.trim()}`,
    });
  const rest = prompt.slice(0, -1);
  return [
    ...rest,
    { ...last, tokens: before },
    { type: "text", author: "forced", turn, tokens: opening },
  ];
}

/** A picture as it stands in a conversation. */
export type ShownPicture = Pick<Picture, "id" | "seen">;

/** Puts an author and pictures to the pieces of a prompt. */
export function authored(
  pieces: readonly (TokenPiece | ImagePiece)[],
  pictures: readonly ShownPicture[],
  author: Extract<Author, "prompt" | "environment">,
  turn: number,
): AuthoredChunk[] {
  return pieces.map((piece) => {
    if (piece.type === "text") return { type: "text", author, turn, tokens: piece.tokens };
    const { id, seen } = pictures[piece.index];
    return { type: "image", author, turn, picture: id, image: seen };
  });
}
