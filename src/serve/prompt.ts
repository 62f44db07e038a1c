/**
 * Messages of a request as the chunks of a prompt: images out of their data URLs and into the size
 * the model sees, texts through the folder's chat template. Nothing is fetched from other hosts. What a
 * request is going to take is looked at before it is taken: sizes from headers, texts by their length.
 */
import { imageSize } from "../image/decode.ts";
import { webFormats } from "../image/formats.ts";
import type { ModelImage, PixelBudget } from "../image/model-image.ts";
import type { PictureJob, PicturePool } from "../image/pool.ts";
import { tokenSide, type PreprocessorConfig } from "../image/preprocessor-config.ts";
import { smartResize } from "../image/smart-resize.ts";
import type { Chunk } from "../engine/types.ts";
import type { ChatFormat, ChatMessage, ContentPart, ImagePiece, TextPiece } from "../text/chat.ts";
import type { FarEncoder } from "../text/far-encoder.ts";
import { ApiError } from "./api-error.ts";
import type { Budget, Share } from "./budget.ts";
import { tooLong } from "./completion.ts";
import { dataUrlBytes } from "./data-url.ts";
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

/** What prompts are made with, and on whose account. */
export interface PromptTools {
  readonly format: PromptFormat;
  readonly limits: ImageLimits;
  readonly maxPositions: number;
  readonly pool: PicturePool;
  readonly encoder: FarEncoder;
  /** Pixels that wait to be decoded. */
  readonly pixels: Budget;
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
  const images = await readImages(request, tools, share, signal);
  const continueFinal = request.continue_final_message === true;
  const options = {
    continueFinal,
    addGenerationPrompt: request.add_generation_prompt ?? !continueFinal,
  };
  const pieces = chat.renderPrompt(request.messages.map(toChatMessage), options);
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

async function readImages(
  request: CompletionRequest,
  { format, limits, pool, pixels }: PromptTools,
  share: Share,
  signal: AbortSignal,
): Promise<ModelImage[]> {
  const { budget, preprocessor } = format;
  const urls = request.messages.flatMap(imageUrls);
  if (urls.length > limits.maxImages)
    throw new ApiError(400, `${urls.length} images, this server takes ${limits.maxImages}`);
  const jobs: PictureJob[] = [];
  const waiting = pixels.share();
  try {
    for (const [i, url] of urls.entries()) {
      const name = `image ${i + 1}`;
      const bytes = dataUrlBytes(url, name);
      const decode = { name, maxPixels: limits.maxImagePixels, formats: webFormats };
      const size = await imageSize(bytes, decode);
      waiting.take(size.widthPx * size.heightPx);
      const factor = tokenSide(preprocessor);
      const seen = smartResize(size.heightPx, size.widthPx, { factor, ...budget });
      share.take(3 * seen.widthPx * seen.heightPx);
      jobs.push({ bytes, decode, budget, preprocessor });
    }
    return await Promise.all(jobs.map((job) => pool.read(job, signal)));
  } finally {
    waiting.free();
  }
}

function imageUrls({ content }: RequestMessage): string[] {
  if (typeof content === "string") return [];
  return content.flatMap((part) => (part.type === "image_url" ? [part.image_url.url] : []));
}

function toChatMessage(message: RequestMessage): ChatMessage {
  const { role, content } = message;
  if (role === "system" || role === "developer")
    return { role: "system", content: joined(content) };
  if (role === "assistant") {
    const { reasoning_content } = message;
    const said = { role, content: joined(content) };
    return reasoning_content ? { ...said, reasoning_content } : said;
  }
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
