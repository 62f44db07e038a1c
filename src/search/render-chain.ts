/**
 * A chain as a conversation with pictures, and as a training example. Pictures are cut again from the
 * record by the recipe's own zoom rules, through the same code as episodes, so a student trains on
 * what it will see; where the teacher saw other crops than these, that is an error.
 */
import { VigorlError } from "../core/errors.ts";
import type { Chunk } from "../engine/types.ts";
import type { ModelImage } from "../image/model-image.ts";
import type { ChatMessage } from "../text/chat.ts";
import { parseTurn } from "../text/grammar.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { conversationToChunks } from "../task/conversation.ts";
import type { EpisodeConfig } from "../task/episode-config.ts";
import { observationMessage, promptMessages } from "../task/prompt.ts";
import type { TaskRecord } from "../task/record.ts";
import { episodeToDatum, type AuthoredChunk } from "../task/trajectory.ts";
import { openScene } from "../task/turn.ts";
import { zoomStep } from "../task/zoom.ts";
import type { ChainLine } from "./linearize.ts";

export interface RenderedChain {
  readonly messages: readonly ChatMessage[];
  /** One for each image part, in order, as the model sees them. */
  readonly images: readonly ModelImage[];
}

/** A chain as `sft` takes it. */
export interface ChainExample {
  readonly id: string;
  readonly category: string;
  readonly chunks: readonly Chunk[];
  /** Over positions: 1 where the assistant speaks. */
  readonly mask_T: Float32Array;
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
): Promise<ChainExample> {
  const { messages, images } = await renderChain(chain, record, episode);
  const authored = conversationToChunks(episode.chat, messages, images);
  const { chunks, weights } = episodeToDatum({ chunks: authored });
  if (!trainDetours) maskDetours(chain, authored, weights, episode.chat.tokenizer);
  return { id: chain.id, category: record.category ?? "", chunks, mask_T: weights };
}

/** Puts 0 where a token ends within a detour; that of a whole turn takes the end of turn along. */
function maskDetours(
  { turns, detours }: ChainLine,
  authored: readonly AuthoredChunk[],
  mask_T: Float32Array,
  tokenizer: Tokenizer,
): void {
  let position = 0;
  for (const chunk of authored) {
    if (chunk.type === "text" && chunk.author === "model") {
      const text = turns[chunk.turn];
      for (const { start, end } of detours.filter(({ turn }) => turn === chunk.turn)) {
        const isWhole = start === 0 && end === text.length;
        const [from, to] = [start, end].map((at) => Buffer.byteLength(text.slice(0, at)));
        let at = 0;
        for (const [i, token] of chunk.tokens.entries()) {
          const next = at + tokenizer.bytes(token).length;
          if (isWhole || (next > from && next <= to)) mask_T[position + i] = 0;
          at = next;
        }
      }
    }
    position += chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
  }
}
