/** Prompts of every shape, read back as the messages that they were rendered from. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { toModelImage } from "../../image/model-image.ts";
import type { ChatMessage, ContentPart } from "../../text/chat.ts";
import { authored } from "../../task/prompt.ts";
import { chat, gradientImage } from "../../task/fixtures/scene.ts";
import { toChunks } from "../../task/trajectory.ts";
import type { Chunk } from "../types.ts";
import { toConversation, type Message } from "./messages.ts";
import { patches14 } from "../../image/fixtures/preprocessor.ts";

const { tokenizer } = chat;
const image = toModelImage(gradientImage(56, 56), { minPixels: 3136, maxPixels: 3136 }, patches14);

function chunksOf(messages: readonly ChatMessage[], continueFinal = false): Chunk[] {
  const options = { continueFinal, addGenerationPrompt: !continueFinal };
  const images = Array.from({ length: 9 }, (_, id) => ({ id, seen: image }));
  return toChunks(authored(chat.encodePrompt(messages, options), images, "prompt", 0));
}

/** A message as the reader gives it: neighbouring texts joined, empty ones left out. */
function read({ role, content }: ChatMessage): Message {
  const given = typeof content === "string" ? [{ type: "text" as const, text: content }] : content;
  const parts: Message["parts"][number][] = [];
  for (const part of given) {
    const last = parts.at(-1);
    if (part.type === "image") parts.push({ type: "image", image });
    else if (last?.type === "text")
      parts[parts.length - 1] = { type: "text", text: last.text + part.text };
    else if (part.text !== "") parts.push(part);
  }
  return { role, parts };
}

const text = fc.oneof(
  // The tokenizer normalises to NFC.
  fc.string({ unit: "grapheme", maxLength: 20 }).map((one) => one.normalize("NFC")),
  fc.constantFrom(
    "\n",
    " user\n",
    "assistant\n",
    "<answer> 7 </answer>",
    "\n\nsystem\n\n",
    "<tool_call>",
  ),
);
const part: fc.Arbitrary<ContentPart> = fc.oneof(
  text.map((one) => ({ type: "text" as const, text: one })),
  fc.constant({ type: "image" as const }),
);
const conversation = fc
  .tuple(
    text,
    fc.array(fc.tuple(fc.oneof(text, fc.array(part, { maxLength: 3 })), text), { maxLength: 3 }),
    fc.array(part, { maxLength: 3 }),
  )
  .map(([system, turns, last]): ChatMessage[] => [
    { role: "system", content: system },
    ...turns.flatMap(([user, assistant]): ChatMessage[] => [
      { role: "user", content: user },
      { role: "assistant", content: assistant },
    ]),
    { role: "user", content: last },
  ]);

test("a rendered conversation is read back as its messages", () => {
  fc.assert(
    fc.property(conversation, (messages) => {
      const { messages: back, open } = toConversation(chunksOf(messages), tokenizer);
      expect(open).toBe("");
      expect(back).toEqual(messages.map(read));
    }),
    { numRuns: 200 },
  );
});

test("an open message is what stands in it", () => {
  fc.assert(
    fc.property(conversation, text, (messages, said) => {
      const opened: ChatMessage[] = [...messages, { role: "assistant", content: said }];
      const { messages: back, open } = toConversation(chunksOf(opened, true), tokenizer);
      expect(open).toBe(said);
      expect(back).toEqual(messages.map(read));
    }),
    { numRuns: 200 },
  );
});

test("a prompt that ends elsewhere, or is no conversation, is refused", () => {
  const closed = chat.encodePrompt([{ role: "user", content: "a" }]) as Chunk[];
  expect(() => toConversation(closed, tokenizer)).toThrow(/must end inside an assistant message/);
  const bare: Chunk[] = [{ type: "text", tokens: tokenizer.encode("once upon a time") }];
  expect(() => toConversation(bare, tokenizer)).toThrow(/must begin with <\|im_start\|>/);
  expect(() => toConversation([], tokenizer)).toThrow(/must begin with/);
});
