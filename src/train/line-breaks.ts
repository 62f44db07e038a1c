/**
 * The line break behind the end of a turn as the model's own word: LLaMA-Factory's chat template, which
 * the published warm start was trained with, puts it into the assistant's part.
 */
import { VigorlError } from "../core/errors.ts";
import type { AuthoredChunk, Transcript } from "../task/trajectory.ts";
import type { ChatFormat } from "../text/chat.ts";

/**
 * The same tokens with the line break behind every trained end of turn written by the model, and one
 * more behind the last. Throws VigorlError("input") where something else follows an end of turn.
 */
export function withLineBreaks<T extends Transcript>(example: T, chat: ChatFormat): T {
  const lineBreak = chat.tokenizer.encode("\n");
  const chunks: AuthoredChunk[] = [];
  for (const [i, chunk] of example.chunks.entries()) {
    const ended = chunks.at(-1);
    const follows = endsTurn(ended, chat) && i > 0;
    if (!follows || chunk.type === "image") {
      chunks.push(chunk);
      continue;
    }
    const head = chunk.tokens.slice(0, lineBreak.length);
    if (head.join() !== lineBreak.join())
      throw new VigorlError("input", `${example.id}: no line break follows the end of a turn`, {
        hint: "this chat template has none: set sft.trainLineBreak to false",
      });
    chunks.push({ type: "text", author: "model", turn: ended!.turn, tokens: lineBreak });
    const rest = chunk.tokens.slice(lineBreak.length);
    if (rest.length > 0) chunks.push({ ...chunk, tokens: rest });
  }
  const last = chunks.at(-1);
  if (endsTurn(last, chat))
    chunks.push({ type: "text", author: "model", turn: last!.turn, tokens: lineBreak });
  return { ...example, chunks };
}

function endsTurn(chunk: AuthoredChunk | undefined, { endOfTurnId }: ChatFormat): boolean {
  return chunk?.type === "text" && chunk.author === "model" && chunk.tokens.at(-1) === endOfTurnId;
}
