/**
 * Messages of a request as the chunks of a prompt: images out of their data URLs and into the size
 * the model sees, texts through the folder's chat template. Nothing is fetched from other hosts.
 */
import { decodeImage } from "../image/decode.ts";
import { toModelImage, type ModelImage, type PixelBudget } from "../image/model-image.ts";
import type { PreprocessorConfig } from "../image/preprocessor-config.ts";
import type { Chunk } from "../engine/types.ts";
import type { ChatFormat, ChatMessage, ContentPart } from "../text/chat.ts";
import { ApiError } from "./api-error.ts";
import type { CompletionRequest, RequestMessage } from "./request-schema.ts";

/** How prompts of the served model are made. */
export interface PromptFormat {
  readonly chat: ChatFormat;
  readonly preprocessor: PreprocessorConfig;
  readonly budget: PixelBudget;
}

export interface ImageLimits {
  /** Images in one request. */
  readonly maxImages: number;
  /** Pixels of one image before it is resized. */
  readonly maxImagePixels: number;
}

/** @throws ApiError 400, VigorlError("input" | "usage") for messages that cannot become a prompt. */
export async function toPrompt(
  request: CompletionRequest,
  format: PromptFormat,
  limits: ImageLimits,
): Promise<Chunk[]> {
  const urls = request.messages.flatMap(imageUrls);
  if (urls.length > limits.maxImages)
    throw new ApiError(400, `${urls.length} images, this server takes ${limits.maxImages}`);
  const images: ModelImage[] = [];
  for (const [i, url] of urls.entries()) images.push(await readImage(url, i, format, limits));
  const continueFinal = request.continue_final_message === true;
  const options = {
    continueFinal,
    addGenerationPrompt: request.add_generation_prompt ?? !continueFinal,
  };
  const messages = request.messages.map(toChatMessage);
  if (request.input_ids) return fromIds(request.input_ids, messages, options, images, format);
  return format.chat
    .encodePrompt(messages, options)
    .map((piece) =>
      piece.type === "text" ? piece : { type: "image", image: images[piece.index] },
    );
}

function imageUrls({ content }: RequestMessage): string[] {
  if (typeof content === "string") return [];
  return content.flatMap((part) => (part.type === "image_url" ? [part.image_url.url] : []));
}

async function readImage(
  url: string,
  position: number,
  { budget, preprocessor }: PromptFormat,
  { maxImagePixels }: ImageLimits,
): Promise<ModelImage> {
  const name = `image ${position + 1}`;
  const data = /^data:image\/(?:png|jpe?g|webp|gif);base64,/.exec(url);
  if (data === null) {
    throw new ApiError(
      400,
      `${name}: not a data URL; send its bytes as data:image/png;base64,… (png, jpeg, webp or gif)`,
      { param: "messages" },
    );
  }
  const bytes = Buffer.from(url.slice(data[0].length), "base64");
  const image = await decodeImage(bytes, { maxPixels: maxImagePixels, name });
  return toModelImage(image, budget, preprocessor);
}

function toChatMessage({ role, content }: RequestMessage): ChatMessage {
  if (role === "developer") return { role: "system", content: joined(content) };
  if (role !== "user") return { role, content: joined(content) };
  if (typeof content === "string") return { role, content };
  const parts = content.map((part): ContentPart =>
    part.type === "text" ? part : { type: "image" },
  );
  return { role, content: parts };
}

function joined(content: string | readonly { readonly text: string }[]): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join("");
}

/** The caller's own ids, if they say what the messages say. */
function fromIds(
  ids: readonly number[],
  messages: readonly ChatMessage[],
  options: { continueFinal: boolean; addGenerationPrompt: boolean },
  images: readonly ModelImage[],
  { chat }: PromptFormat,
): Chunk[] {
  const { tokenizer } = chat;
  const pad = tokenizer.decode([tokenizer.imagePadId]);
  const rendered = chat
    .renderPrompt(messages, options)
    .map((piece) => (piece.type === "text" ? piece.text : pad))
    .join("");
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
