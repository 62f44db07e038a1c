/**
 * A chain as a conversation with pictures, and as a training example. Pictures are cut again from the
 * record by the recipe's own zoom rules, through the same code as episodes, so a student trains on
 * what it will see; where the teacher saw other crops than these, that is an error.
 */
import { VigorlError } from "../core/errors.ts";
import type { ModelImage } from "../image/model-image.ts";
import type { ChatMessage } from "../text/chat.ts";
import { parseTurn } from "../text/grammar.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { conversationToChunks } from "../task/conversation.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { observationMessage, promptMessages } from "../task/prompt.ts";
import type { TaskRecord } from "../task/record.ts";
import type { AuthoredChunk, Transcript } from "../task/trajectory.ts";
import { openScene } from "../task/turn.ts";
import { zoomStep } from "../task/zoom.ts";
import type { ChainLine } from "./linearize.ts";

export interface RenderedChain {
  readonly messages: readonly ChatMessage[];
  /** One for each image part, in order, as the model sees them. */
  readonly images: readonly ModelImage[];
}

/**
 * Writes out a chain. The system prompt is the student's, not the one that the search used.
 * @throws VigorlError("input") where a tool call shows no crop, or not the one the teacher saw.
 */
export async function renderChain(
  chain: ChainLine,
  record: TaskRecord,
  episode: EpisodeConfig,
): Promise<RenderedChain> {
  const scene = await openScene(record, episode);
  const prompts = episode.promptsFor(record.kind);
  const messages = promptMessages(record, prompts);
  const images = [...scene.seen];
  const looked = { image: scene.image, view: scene.view, preprocessor: episode.preprocessor };
  const zoom = { ...episode.zoom, control: "none" as const };
  let numCrops = 0;
  for (const [turn, text] of chain.turns.entries()) {
    messages.push({ role: "assistant", content: text });
    if (turn === chain.turns.length - 1) break;
    const call = parseTurn(text).toolCall;
    const step = call === null ? null : zoomStep(call, looked, zoom, 0, turn);
    if (step === null || !step.ok)
      throw new VigorlError("input", `chain ${chain.id}: turn ${turn + 1} shows no crop`);
    const taught = chain.crops[numCrops++];
    if (taught !== undefined && taught !== step.image.hash) {
      throw new VigorlError("input", `chain ${chain.id}: its teacher saw another crop`, {
        hint: "use the zoom and image settings that the search ran with",
      });
    }
    messages.push(observationMessage(episode, prompts, step));
    images.push(step.image);
  }
  return { messages, images };
}

/**
 * A chain as a training example: every token of the assistant is trained, the ends of turns too, but
 * for its detours unless `trainDetours`: a student that imitates mistakes makes them.
 */
export async function chainExample(
  chain: ChainLine,
  record: TaskRecord,
  episode: EpisodeConfig,
  { trainDetours = false }: { readonly trainDetours?: boolean } = {},
): Promise<Transcript> {
  const { messages, images } = await renderChain(chain, record, episode);
  const said = conversationToChunks(episode.chat, messages, images);
  const chunks = trainDetours
    ? said
    : said.flatMap((chunk) => withoutDetours(chunk, chain, episode.chat.tokenizer));
  return { id: chain.id, task: record.task ?? "", category: record.category ?? "", chunks };
}

/**
 * Cuts a turn so that the tokens that end within a detour are written in the model's name ("forced")
 * and not by it; a detour of a whole turn takes the end of turn along.
 */
function withoutDetours(
  chunk: AuthoredChunk,
  { turns, detours }: ChainLine,
  tokenizer: Tokenizer,
): AuthoredChunk[] {
  if (chunk.type === "image" || chunk.author !== "model") return [chunk];
  const text = turns[chunk.turn];
  const spans = detours
    .filter(({ turn }) => turn === chunk.turn)
    .map(({ start, end }) => {
      const [from, to] = [start, end].map((at) => Buffer.byteLength(text.slice(0, at)));
      return { from, to, isWhole: start === 0 && end === text.length };
    });
  const pieces: { author: "model" | "forced"; tokens: number[] }[] = [];
  let at = 0;
  for (const token of chunk.tokens) {
    const next = at + tokenizer.bytes(token).length;
    const isDetour = spans.some(({ from, to, isWhole }) => isWhole || (next > from && next <= to));
    const author = isDetour ? "forced" : "model";
    if (pieces.at(-1)?.author !== author) pieces.push({ author, tokens: [] });
    pieces.at(-1)!.tokens.push(token);
    at = next;
  }
  return pieces.map((piece) => ({ ...chunk, ...piece }));
}
