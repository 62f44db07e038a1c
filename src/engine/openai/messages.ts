/**
 * A chunk list as messages. The chunks stay the only record: messages are read off the turn markers
 * in their ids (`<|im_start|>role`, `<|im_end|>`), so whoever samples needs no second view of the
 * conversation. What was sampled comes back as text here, and the server tokenises it again; whether
 * that gave the same ids is checked on its answer (`to-sample.ts`).
 */
import { VigorlError } from "../../core/errors.ts";
import type { ModelImage } from "../../image/model-image.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { Chunk } from "../types.ts";

export type MessagePart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image"; readonly image: ModelImage };

export interface Message {
  readonly role: Role;
  readonly parts: readonly MessagePart[];
}

export interface Conversation {
  /** Closed messages, in order. */
  readonly messages: readonly Message[];
  /** What already stands in the assistant's message that is to be written; empty at its start. */
  readonly open: string;
}

const roles = ["system", "user", "assistant", "tool"] as const;
type Role = (typeof roles)[number];

/**
 * Reads a prompt that ends inside an assistant message.
 * @throws VigorlError("input") when the tokenizer has no turn markers or the prompt ends otherwise.
 */
export function toConversation(chunks: readonly Chunk[], tokenizer: Tokenizer): Conversation {
  const marks = marksOf(tokenizer);
  const read = segments(chunks, marks, tokenizer).map((one) => readSegment(one, marks, tokenizer));
  const last = read.at(-1);
  if (last === undefined || last.closed || last.message.role !== "assistant") {
    throw new VigorlError("input", "a prompt for a server must end inside an assistant message", {
      hint: "render it with addGenerationPrompt or continueFinal",
    });
  }
  if (last.message.parts.some((part) => part.type === "image"))
    throw new VigorlError("input", "an assistant message cannot hold an image");
  return { messages: read.slice(0, -1).map(({ message }) => message), open: textOf(last.message) };
}

/** The texts of a message, without its images. */
export function textOf({ parts }: Message): string {
  return parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

interface Marks {
  readonly start: number;
  readonly end: number;
  readonly around: ReadonlySet<number | undefined>;
}

type Item = number | ModelImage;

function marksOf(tokenizer: Tokenizer): Marks {
  const start = tokenizer.findTokenId("<|im_start|>");
  const end = tokenizer.findTokenId("<|im_end|>");
  if (start === undefined || end === undefined) {
    throw new VigorlError("input", "the tokenizer has no <|im_start|> and <|im_end|>", {
      hint: "write prompts for a server in the format of a Qwen model folder; models/nano is one",
    });
  }
  return { start, end, around: new Set([tokenizer.vision.start, tokenizer.vision.end]) };
}

/** Cuts at the starts of messages. One that no role follows was sampled and belongs to its message. */
function segments(chunks: readonly Chunk[], { start }: Marks, tokenizer: Tokenizer): Item[][] {
  const items = chunks.flatMap((chunk): Item[] =>
    chunk.type === "text" ? [...chunk.tokens] : [chunk.image],
  );
  const cuts = items.flatMap((item, at) =>
    item === start && roleAt(items, at + 1, tokenizer) !== null ? [at] : [],
  );
  if (cuts[0] !== 0)
    throw new VigorlError("input", "a prompt for a server must begin with <|im_start|> and a role");
  return cuts.map((cut, i) => items.slice(cut + 1, cuts[i + 1]));
}

/** The role named at `at`, and the line it stands on. */
function roleAt(
  items: readonly Item[],
  at: number,
  tokenizer: Tokenizer,
): { role: Role; header: string } | null {
  const image = items.findIndex((item, i) => i >= at && typeof item !== "number");
  const end = Math.min(at + HEADER_TOKENS, image < 0 ? items.length : image);
  const line = tokenizer.decode(items.slice(at, end) as number[]);
  const role = roles.find((name) => line.startsWith(`${name}\n`));
  return role === undefined ? null : { role, header: `${role}\n` };
}

/** No role takes more tokens than this, its line end included. */
const HEADER_TOKENS = 16;

function readSegment(
  segment: readonly Item[],
  { end, around }: Marks,
  tokenizer: Tokenizer,
): { message: Message; closed: boolean } {
  const head = roleAt(segment, 0, tokenizer);
  if (head === null) throw new Error("a segment begins with a role");
  const last = segment.lastIndexOf(end);
  const body = last < 0 ? segment : segment.slice(0, last);
  const parts: MessagePart[] = [];
  let tokens: number[] = [];
  const flush = () => {
    const text = tokenizer.decode(tokens);
    if (text !== "") parts.push({ type: "text", text });
    tokens = [];
  };
  for (const item of body) {
    if (typeof item === "number") {
      if (!around.has(item)) tokens.push(item);
      continue;
    }
    flush();
    parts.push({ type: "image", image: item });
  }
  flush();
  const [first, ...rest] = parts;
  if (first?.type !== "text") throw new Error("a segment begins with a role");
  const text = first.text.slice(head.header.length);
  const opening: MessagePart[] = text === "" ? [] : [{ type: "text", text }];
  return { message: { role: head.role, parts: [...opening, ...rest] }, closed: last >= 0 };
}
