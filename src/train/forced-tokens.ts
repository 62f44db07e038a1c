/**
 * What the published multi-turn rollout puts into the model's turns and learns from as if the model had
 * said it: the opening of a forced answer, the end of a turn where a stop string ended it, and the line
 * break behind each end of turn that another message follows.
 */
import type { AuthoredChunk, Transcript } from "../task/trajectory.ts";
import type { ChatFormat } from "../text/chat.ts";

/** The same tokens, those written by the model. They have no log-probability of a sampler. */
export function withForcedTokens<T extends Transcript>(episode: T, chat: ChatFormat): T {
  const chunks: AuthoredChunk[] = [];
  for (const chunk of episode.chunks) {
    const before = chunks.at(-1);
    const isBehindTurn = before?.type === "text" && before.author === "model";
    if (chunk.author === "forced") chunks.push({ ...chunk, author: "model" });
    else if (chunk.type === "text" && chunk.author === "environment" && isBehindTurn)
      chunks.push(...endOfTurn(chunk, before.tokens.at(-1), chat));
    else chunks.push(chunk);
  }
  return { ...episode, chunks };
}

type TextChunk = Extract<AuthoredChunk, { readonly type: "text" }>;

/** Cuts what follows a turn behind the turn's end and the line break there. */
function endOfTurn(chunk: TextChunk, last: number | undefined, chat: ChatFormat): AuthoredChunk[] {
  const { tokens, turn } = chunk;
  const isEnded = last === chat.endOfTurnId;
  if (!isEnded && tokens[0] !== chat.endOfTurnId) return [chunk];
  const from = isEnded ? 0 : 1;
  const lineBreak = chat.tokenizer.encode("\n");
  const hasBreak = lineBreak.every((token, i) => tokens[from + i] === token);
  const end = hasBreak ? from + lineBreak.length : from;
  const part = (author: "model" | "environment", some: readonly number[]): AuthoredChunk[] =>
    some.length === 0 ? [] : [{ type: "text", author, turn, tokens: some }];
  return [...part("model", tokens.slice(0, end)), ...part("environment", tokens.slice(end))];
}
