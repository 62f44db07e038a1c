/**
 * One question in words to a model, and what it says. Questions are asked once: a reply is kept in a
 * folder, one file each under the hash of all that was asked, so that what goes on, or is counted again,
 * asks nothing twice. Left out: pictures.
 */
import { existsSync } from "node:fs";
import type { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { hashText, writeFileAtomic } from "../core/files.ts";
import { inside } from "../core/inside.ts";
import { readJsonFile } from "../core/json-file.ts";
import type { RunEntry } from "../core/run-entries.ts";
import { ReplyFault } from "../engine/reply-fault.ts";
import { numPositions, type Chunk, type Sampler } from "../engine/types.ts";
import type { ChatFormat } from "../text/chat.ts";

export interface AskModelOptions {
  /** What people call the model. */
  readonly name: string;
  readonly sampler: Sampler;
  readonly chat: ChatFormat;
  /** Bound on its reply, thoughts included. */
  readonly maxTokens: number;
  /** Where replies are kept. */
  readonly folder: string;
}

/** Where the replies of a run's judge are kept. */
export function judgementsOf(run: string): string {
  const name: RunEntry = "judgements";
  return inside(run, name);
}

/** `isReply`: the model said it; else it could not be asked, and the text says why. */
export interface ModelReply {
  readonly isReply: boolean;
  readonly text: string;
}

/**
 * Asks with what `read` makes of a reply kept under the question's hash.
 * @throws VigorlError where the engine fails for good; what was said so far is kept
 */
export function keptAnswers<T>(
  options: AskModelOptions,
  schema: z.ZodType<T>,
  read: (reply: ModelReply) => T,
): (asked: string, signal?: AbortSignal) => Promise<T> {
  const { name, maxTokens, folder } = options;
  const pending = new Map<string, Promise<T>>();
  return (asked, signal) => {
    const key = hashText(JSON.stringify([name, maxTokens, asked])).slice(0, 32);
    const known = pending.get(key);
    if (known !== undefined) return known;
    const file = inside(folder, `${key}.json`);
    const made = (async () => {
      const hint = `remove ${file}; the judge is asked again`;
      if (existsSync(file)) return readJsonFile(file, schema, hint);
      const answer = read(await askModel(options, asked, signal));
      await writeFileAtomic(file, `${JSON.stringify(answer)}\n`);
      return answer;
    })();
    pending.set(key, made);
    // What was said is in its file from now on, and what failed may be asked again.
    const settle = () => void pending.delete(key);
    made.then(settle, settle);
    return made;
  };
}

async function askModel(
  { sampler, chat, maxTokens }: AskModelOptions,
  asked: string,
  signal: AbortSignal | undefined,
): Promise<ModelReply> {
  const pieces = chat.encodePrompt([{ role: "user", content: asked }], {
    addGenerationPrompt: true,
  });
  const prompt = pieces.filter((piece) => piece.type === "text") satisfies readonly Chunk[];
  const room = sampler.capabilities.maxPositions - numPositions(prompt);
  if (room < maxTokens) return { isReply: false, text: "(the question does not fit its context)" };
  const params = { maxTokens, temperature: 0, topP: 1, topK: 0, stop: [], seed: 0 };
  try {
    const { tokens } = await sampler.sample(prompt, params, signal === undefined ? {} : { signal });
    const known = tokens.filter((id) => chat.tokenizer.hasId(id));
    return { isReply: true, text: chat.tokenizer.decode(known, { skipSpecial: true }) };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ReplyFault) return { isReply: false, text: `(${error.message})` };
    throw error instanceof VigorlError
      ? new VigorlError(error.code, `the judge: ${error.message}`, {
          ...(error.hint === undefined ? {} : { hint: error.hint }),
          cause: error,
        })
      : error;
  }
}

/** Text of a model in a question to another: control tokens and tags cannot be written by it. */
export function quoted(text: string): string {
  return text.replaceAll(/<(?=[|/a-z])/gi, "‹").trim();
}

/** What a reply says behind its thoughts; null where it never came out of them. */
export function behindThoughts(reply: string): string | null {
  const thought = reply.lastIndexOf("</think>");
  if (thought < 0 && reply.includes("<think>")) return null;
  return thought < 0 ? reply : reply.slice(thought + "</think>".length);
}
