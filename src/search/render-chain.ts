/**
 * A chain as a conversation with pictures, and as a training example. Its tool calls are carried out
 * again by the recipe's own tools, through the same code as episodes, so a student trains on what it
 * will see; where the teacher saw other pictures than these, that is an error.
 */
import { VigorlError } from "../core/errors.ts";
import type { ChatMessage } from "../text/chat.ts";
import { parseTurn } from "../text/grammar.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { conversationToChunks } from "../task/conversation.ts";
import { templateTools, type EpisodeConfig } from "../task/episode-config.ts";
import type { Picture } from "../task/pictures.ts";
import { observationMessage, promptMessages } from "../task/prompt.ts";
import type { TaskRecord } from "../task/record.ts";
import type { AnswerView, AuthoredChunk, Transcript } from "../task/trajectory.ts";
import { openScene } from "../task/turn.ts";
import { useTool } from "../task/tools/use-tool.ts";
import type { ChainLine } from "./linearize.ts";
import { rescaled } from "./splice.ts";

/** What of a chain is written out. */
export type RenderedFrom = Pick<
  ChainLine,
  "id" | "turns" | "pictures" | "places" | "seen" | "detours"
>;

export interface RenderedChain {
  readonly messages: readonly ChatMessage[];
  /** One for each image part, in order. */
  readonly pictures: readonly Picture[];
}

/**
 * Writes out a chain. The system prompt is the student's, not the one that the search used. A spliced
 * chain is brought to the size at which the student sees the image.
 * @throws VigorlError("input") where the image has another size, a tool call fails, or shows not what the teacher saw.
 */
export async function renderChain(
  written: RenderedFrom,
  record: TaskRecord,
  episode: EpisodeConfig,
): Promise<RenderedChain> {
  const scene = await openScene(record, episode);
  const chain = atSize(written, scene.view);
  const prompts = episode.promptsFor(record.kind);
  const messages = promptMessages(record, prompts);
  const pictures = [...scene.pictures];
  let numShown = 0;
  for (const [turn, text] of chain.turns.entries()) {
    messages.push({ role: "assistant", content: text });
    if (turn === chain.turns.length - 1) break;
    const call = parseTurn(text, episode.dialect).toolCall;
    if (call === null)
      throw new VigorlError("input", `chain ${chain.id}: turn ${turn + 1} calls no tool`);
    const key = { seed: 0, turn };
    const { use, picture } = await useTool(call, episode, prompts, pictures, key);
    if (use.fault !== null) {
      throw new VigorlError("input", `chain ${chain.id}: turn ${turn + 1}: ${use.text}`, {
        hint: "use the tools that the search ran with",
      });
    }
    messages.push(observationMessage(episode, use));
    if (picture === null) continue;
    const taught = chain.pictures[numShown++];
    if (taught !== undefined && taught !== picture.seen.hash) {
      throw new VigorlError("input", `chain ${chain.id}: its teacher saw another picture`, {
        hint: "use the tools and image settings that the search ran with",
      });
    }
    pictures.push(picture);
  }
  return { messages, pictures };
}

/**
 * Coordinates in a chain's text mean nothing in a picture of another size. Nobody has looked where a
 * spliced chain looks, so its coordinates can move, as in the published builder.
 */
function atSize(chain: RenderedFrom, { resized }: AnswerView): RenderedFrom {
  const { id, seen, places } = chain;
  if (seen === null || places.length === 0) return chain;
  if (seen.widthPx === resized.widthPx && seen.heightPx === resized.heightPx) return chain;
  const isSpliced = chain.turns.length > 1 && chain.pictures.length === 0;
  if (isSpliced && chain.detours.length === 0) {
    const scale = { x: resized.widthPx / seen.widthPx, y: resized.heightPx / seen.heightPx };
    return { ...chain, turns: chain.turns.map((turn) => rescaled(turn, scale)) };
  }
  const [theirs, ours] = [seen, resized].map(({ widthPx, heightPx }) => `${widthPx} × ${heightPx}`);
  throw new VigorlError(
    "input",
    `chain ${id}: its coordinates count pixels of an image of ${theirs}, which the student sees at ${ours}`,
    {
      hint: "use the image settings (image.minPixels, maxPixels, maxSide) that the search ran with",
    },
  );
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
  const { messages, pictures } = await renderChain(chain, record, episode);
  const images = pictures.map(({ seen }) => seen);
  const said = conversationToChunks(episode.chat, messages, images, templateTools(episode));
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
