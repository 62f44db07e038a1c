/**
 * Rows that are conversations: ShareGPT's `conversations` of {from, value}, and `messages` of {role,
 * content} as chat APIs and TRL have them. Each question with the reply behind it is a record of its
 * own: a judge needs one answer to one question.
 */
import { z } from "zod";
import { imageCells, statedAnswer, withoutImageMarks } from "./cells.ts";
import {
  aliases,
  keyIn,
  type Draft,
  type Form,
  type ImageCell,
  type Read,
  type Row,
  type Unread,
} from "./form.ts";

export const sharegpt: Form = {
  about: "ShareGPT's rows: conversations of from and value, with image or images",
  read: (row) => readTalk(row, ["conversations", "conversation"]),
};

export const messages: Form = {
  about: "chat rows: messages of role and content, pictures in the content or under images",
  read: (row) => readTalk(row, ["messages"]),
};

const talkKeys = ["conversations", "conversation", "messages", "prompt"];

/** The key under which a row has a conversation. */
export function talkKeyOf(row: Row, keys: readonly string[] = talkKeys): string | undefined {
  return keys.find((key) => Array.isArray(row[key]));
}

const turnSchema = z.union([
  z.looseObject({ from: z.string(), value: z.string() }).transform(({ from, value }) => ({
    role: from,
    content: value as unknown,
  })),
  z.looseObject({ role: z.string(), content: z.unknown() }),
]);

const roles: Readonly<Record<string, "user" | "assistant" | "system">> = {
  user: "user",
  human: "user",
  assistant: "assistant",
  gpt: "assistant",
  model: "assistant",
  system: "system",
};

/** Reads a conversation. */
export function readTalk(row: Row, keys: readonly string[] = talkKeys): Read | Unread {
  const key = talkKeyOf(row, keys);
  if (key === undefined) return { reason: `no conversation (under ${keys.join(", ")})` };
  const used: Record<string, string> = { [key]: "question, answer" };
  const told: unknown[] = [...(row[key] as unknown[])];
  if (key === "prompt" && Array.isArray(row.completion)) {
    told.push(...(row.completion as unknown[]));
    used.completion = "answer";
  }
  const turns = z.array(turnSchema).safeParse(told);
  if (!turns.success) return { reason: "turns that are neither {from, value} nor {role, content}" };
  const idKey = keyIn(row, aliases.id);
  const imageKey = keyIn(row, aliases.images);
  const beside = imageKey === undefined ? [] : imageCells(row[imageKey]);
  if (beside === null) return { reason: `no images that can be read in "${imageKey}"` };
  if (idKey !== undefined) used[idKey] = "id";
  if (imageKey !== undefined) used[imageKey] = "images";

  const notes: string[] = [];
  const shown: ImageCell[] = [];
  const pairs: { question: string; answer: string }[] = [];
  let asked: string | null = null;
  for (const { role, content } of turns.data) {
    const speaker = roles[role];
    if (speaker === undefined)
      return { reason: `a turn of "${role}", which is no user or assistant` };
    const said = contentOf(content);
    if (said === null) return { reason: "a turn whose content is neither text nor parts" };
    shown.push(...said.images);
    if (speaker === "system") notes.push("system messages left out");
    else if (speaker === "user")
      asked = [asked, said.text].filter((part) => part !== null).join("\n");
    else if (asked === null) return { reason: "a reply before any question" };
    else {
      const { answer, note } = statedAnswer(said.text);
      if (note !== undefined) notes.push(note);
      pairs.push({ question: withoutImageMarks(asked), answer });
      asked = null;
    }
  }
  const solution = typeof row.solution === "string" ? "solution" : "answer";
  if (pairs.length === 0 && asked !== null && typeof row[solution] === "string") {
    used[solution] = "answer";
    pairs.push({ question: withoutImageMarks(asked), answer: statedAnswer(row[solution]).answer });
  }
  if (pairs.length === 0) return { reason: "no question with a reply" };
  const images = beside.length > 0 ? beside : shown;
  if (images.length === 0) return { reason: "no images" };
  if (pairs.length > 1) notes.push("conversations of several questions, each a record of its own");
  const id = idKey === undefined ? undefined : String(row[idKey] as string | number);
  const drafts = pairs.map((pair, i): Draft => {
    const name = id === undefined ? {} : { id: pairs.length === 1 ? id : `${id}#${i + 1}` };
    return { ...name, ...pair, images };
  });
  return { used, drafts, notes: [...new Set(notes)] };
}

/** Text and pictures of a message: a text, or a list of parts. */
function contentOf(content: unknown): { text: string; images: ImageCell[] } | null {
  if (typeof content === "string") return { text: content, images: [] };
  const parts = z.array(z.looseObject({ type: z.string() })).safeParse(content);
  if (!parts.success) return null;
  const texts: string[] = [];
  const images: ImageCell[] = [];
  for (const part of parts.data) {
    if (typeof part.text === "string") texts.push(part.text);
    const picture = part.image ?? part.image_url ?? part.path;
    const cells = picture === undefined || picture === null ? [] : imageCells(picture);
    if (cells === null) return null;
    images.push(...cells);
  }
  return { text: texts.join("\n"), images };
}
