/**
 * What a model is shown: the opening of a task, and the observation after a tool call, as tokens and
 * images. Search, SFT, RL and evaluation all show it through here.
 */
import type { RgbImage } from "../image/decode.ts";
import { toModelImage, type ModelImage } from "../image/model-image.ts";
import type { ChatMessage, ContentPart, ImagePiece, TokenPiece } from "../text/chat.ts";
import { faultText, observationTexts, questionText, type PromptSet } from "../text/prompts.ts";
import type { EpisodeConfig } from "./episode-config.ts";
import type { TaskRecord } from "./record.ts";
import type { AnswerView, Author, AuthoredChunk } from "./trajectory.ts";
import type { ZoomStep } from "./zoom.ts";

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
  images: readonly ModelImage[],
): AuthoredChunk[] {
  const messages = promptMessages(record, config.promptsFor(record.kind));
  const pieces = config.chat.encodePrompt(messages, { addGenerationPrompt: true });
  return authored(pieces, images, "prompt", 0);
}

/**
 * What follows a tool call: the end of the model's turn (unless `ended`, it wrote that itself), the
 * observation, and the opening of the next turn. `turn` is the one that called.
 */
export function observationChunks(
  config: EpisodeConfig,
  prompts: PromptSet,
  step: ZoomStep,
  turn: number,
  ended: boolean,
): AuthoredChunk[] {
  const message = observationMessage(config, prompts, step);
  const pieces = config.chat.encodeDelta([message], { ended, addGenerationPrompt: true });
  return authored(pieces, step.ok ? [step.image] : [], "environment", turn);
}

/** The observation as a message of the conversation. */
export function observationMessage(
  config: EpisodeConfig,
  prompts: PromptSet,
  step: ZoomStep,
): ChatMessage {
  if (!step.ok) return { role: "user", content: faultText(prompts, step.fault) };
  const at = writtenPlace(step.zoom.place);
  const [before, after] = observationTexts(prompts, at, config.zoom.drawDot);
  return {
    role: "user",
    content: [{ type: "text", text: before }, { type: "image" }, { type: "text", text: after }],
  };
}

/** The images of a record as the model sees them, and how its coordinates are to be read. */
export function viewImages(
  config: EpisodeConfig,
  images: readonly RgbImage[],
): { seen: ModelImage[]; view: AnswerView } {
  const seen = images.map((image) => toModelImage(image, config.budget, config.preprocessor));
  const [original] = images;
  const [resized] = seen;
  return {
    seen,
    view: {
      original: { widthPx: original.widthPx, heightPx: original.heightPx },
      resized: { widthPx: resized.widthPx, heightPx: resized.heightPx },
      coordinates: config.coordinates,
    },
  };
}

/** Puts an author and images to the pieces of a prompt. */
export function authored(
  pieces: readonly (TokenPiece | ImagePiece)[],
  images: readonly ModelImage[],
  author: Extract<Author, "prompt" | "environment">,
  turn: number,
): AuthoredChunk[] {
  return pieces.map((piece) =>
    piece.type === "text"
      ? { type: "text", author, turn, tokens: piece.tokens }
      : { type: "image", author, turn, image: images[piece.index] },
  );
}

function writtenPlace(place: Extract<ZoomStep, { ok: true }>["zoom"]["place"]): {
  x: number;
  y: number;
} {
  if (place.kind === "point") return place;
  return { x: Math.round((place.x0 + place.x1) / 2), y: Math.round((place.y0 + place.y1) / 2) };
}
