/** The parts of a row: images, choices, and answers that stand inside a longer text. */
import { isUint8Array } from "node:util/types";
import { defaultTags } from "../../text/tags.ts";
import type { ImageCell } from "./form.ts";

/** The images of a cell: a path, bytes, a struct of both, or a list of such; null where it is none. */
export function imageCells(value: unknown): ImageCell[] | null {
  if (Array.isArray(value)) {
    const cells = value.map(imageCells);
    return cells.some((cell) => cell === null) ? null : cells.flatMap((cell) => cell ?? []);
  }
  if (typeof value === "string") {
    const text = value.trim();
    return text === "" ? null : text.startsWith("[") ? listed(text) : [text];
  }
  if (isUint8Array(value)) return [{ bytes: value, name: "image" }];
  if (typeof value !== "object" || value === null) return null;
  const { bytes, path, url } = value as Readonly<Record<string, unknown>>;
  if (isUint8Array(bytes))
    return [{ bytes, name: typeof path === "string" && path !== "" ? path : "image" }];
  if (typeof path === "string" && path !== "") return [path];
  return typeof url === "string" ? [url] : null;
}

/** A list that a table keeps as text. */
function listed(text: string): ImageCell[] | null {
  const list = jsonOf(text);
  return Array.isArray(list) ? imageCells(list) : [text];
}

/** Options as a list, as JSON, or as text with a bar between them. */
export function choicesOf(value: unknown): string[] | null {
  if (Array.isArray(value)) {
    const texts = value.map((one: unknown) => (typeof one === "number" ? String(one) : one));
    return texts.every((one) => typeof one === "string" && one !== "") ? (texts as string[]) : null;
  }
  if (typeof value !== "string") return null;
  const list = jsonOf(value);
  if (Array.isArray(list)) return choicesOf(list);
  const parts = value.split("|").map((part) => part.trim());
  return parts.length >= 2 && parts.every((part) => part !== "") ? parts : null;
}

export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Text without the marks that stand for pictures in it. */
export function withoutImageMarks(text: string): string {
  return text.replaceAll(/<image>|<\|image_pad\|>|<\|vision_(?:start|end)\|>/g, "").trim();
}

/** The answer that a written reply ends in, and what was around it in words; itself where it is plain. */
export function statedAnswer(reply: string): { readonly answer: string; readonly note?: string } {
  const { open, close } = defaultTags.answer;
  const from = reply.lastIndexOf(open);
  const to = reply.indexOf(close, from);
  if (from >= 0 && to > from)
    return {
      answer: reply.slice(from + open.length, to).trim(),
      note: `answers taken from ${open}, what stood around them left out`,
    };
  const boxed = lastBoxed(reply);
  if (boxed !== null)
    return {
      answer: boxed,
      note: String.raw`answers taken from \boxed{}, what stood around them left out`,
    };
  return { answer: reply.trim() };
}

/** What the last `\boxed{…}` holds, braces matched; null where there is none. */
function lastBoxed(text: string): string | null {
  const mark = String.raw`\boxed{`;
  const from = text.lastIndexOf(mark);
  if (from < 0) return null;
  let depth = 1;
  for (let at = from + mark.length; at < text.length; at++) {
    if (text[at] === "{") depth++;
    if (text[at] === "}" && --depth === 0) return text.slice(from + mark.length, at).trim();
  }
  return null;
}
