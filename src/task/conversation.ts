/**
 * Written conversations as trajectories: what SFT trains on. They go through the same prompts and
 * deltas as episodes do, so a chain and an episode of the same words are the same tokens, with the
 * end of each turn written by the model.
 */
import { VigorlError } from "../core/errors.ts";
import type { ModelImage } from "../image/model-image.ts";
import type { ChatFormat, ChatMessage } from "../text/chat.ts";
import type { ToolSchema } from "../text/prompts.ts";
import { authored, openedTurn, type ShownPicture } from "./prompt.ts";
import type { AuthoredChunk } from "./trajectory.ts";

/**
 * Tokenises a conversation. Assistant messages (text only) become chunks of author "model", closed by
 * the end-of-turn token; images are taken in order, one for each image part.
 * @throws VigorlError("input") when images and image parts differ in number or no assistant speaks.
 */
export function conversationToChunks(
  chat: ChatFormat,
  messages: readonly ChatMessage[],
  images: readonly ModelImage[],
  tools: readonly ToolSchema[] = [],
): AuthoredChunk[] {
  const first = messages.findIndex((message) => message.role === "assistant");
  if (first < 0) throw new VigorlError("input", "a conversation without an assistant message");
  const rest = images.map((seen, id) => ({ id, seen }));
  const opening = messages.slice(0, first);
  const prompt = chat.encodePrompt(opening, { addGenerationPrompt: true, tools });
  const out = openedTurn(chat, authored(prompt, take(rest, opening), "prompt", 0), 0);
  for (let at = first, turn = 0; at < messages.length; turn++) {
    out.push({ type: "text", author: "model", turn, tokens: speechTokens(chat, messages[at]) });
    const next = messages.findIndex((message, i) => i > at && message.role === "assistant");
    const said = messages.slice(at + 1, next < 0 ? messages.length : next);
    if (next < 0 && said.length === 0) break;
    const delta = chat.encodeDelta(said, { ended: true, addGenerationPrompt: next >= 0 });
    const after = authored(delta, take(rest, said), "environment", turn);
    out.push(...(next < 0 ? after : openedTurn(chat, after, turn + 1)));
    if (next < 0) break;
    at = next;
  }
  if (rest.length > 0)
    throw new VigorlError("input", `${rest.length} images of a conversation stand in no message`);
  return out;
}

function speechTokens(chat: ChatFormat, message: ChatMessage): number[] {
  if (typeof message.content !== "string")
    throw new VigorlError("input", "an assistant message must be text");
  return [...chat.tokenizer.encode(spoken(chat, message.content)), chat.endOfTurnId];
}

/** What a message says behind the thought that its template has opened already. */
function spoken(chat: ChatFormat, text: string): string {
  const open = chat.opening.trim();
  if (open === "") return text;
  if (!text.startsWith(open)) {
    throw new VigorlError("input", `an assistant message does not begin with ${open}`, {
      hint: "the model's chat template opens a thought in every turn: write one",
    });
  }
  return text.slice(open.length).trimStart();
}

/** Takes from the front of `rest` as many images as `messages` show. */
function take(rest: ShownPicture[], messages: readonly ChatMessage[]): ShownPicture[] {
  const parts = messages.flatMap(({ content }) => (typeof content === "string" ? [] : content));
  const count = parts.filter((part) => part.type === "image").length;
  if (count > rest.length)
    throw new VigorlError("input", `a conversation shows ${count - rest.length} images too many`);
  return rest.splice(0, count);
}
