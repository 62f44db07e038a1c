import { expect, test } from "vitest";
import { toModelImage } from "../image/model-image.ts";
import type { ChatMessage } from "../text/chat.ts";
import { conversationToChunks } from "./conversation.ts";
import { runEpisode } from "./episode.ts";
import {
  answerTurn,
  chat,
  digitRecord,
  gradientImage,
  smallConfig,
  zoomCall,
} from "./fixtures/scene.ts";
import { ScriptedSampler } from "./fixtures/scripted-sampler.ts";
import { promptMessages } from "./prompt.ts";
import { episodeToDatum, toChunks, type AuthoredChunk } from "./trajectory.ts";

const config = smallConfig({});
const prompts = config.promptsFor("text");
const image = toModelImage(gradientImage(112, 112), config.budget, config.preprocessor);
const look: ChatMessage = {
  role: "user",
  content: [
    { type: "text", text: "<observation>\n" },
    { type: "image" },
    { type: "text", text: "\n</observation>" },
  ],
};
const conversation: ChatMessage[] = [
  ...promptMessages(digitRecord, prompts),
  { role: "assistant", content: zoomCall(57, 83) },
  look,
  { role: "assistant", content: answerTurn("7") },
];

function flat(chunks: readonly AuthoredChunk[]): (number | string)[] {
  return toChunks(chunks).flatMap((chunk): (number | string)[] =>
    chunk.type === "text" ? [...chunk.tokens] : ["image"],
  );
}

test("a chain and an episode of the same words are the same tokens", async () => {
  const chain = conversationToChunks(chat, conversation, [image, image]);
  const sampler = new ScriptedSampler(chat.tokenizer, [zoomCall(57, 83), answerTurn("7")]);
  const episode = await runEpisode(sampler, digitRecord, config, 1);
  expect(flat(chain)).toEqual(flat(episode.chunks));
});

test("the model is taught its words and the end of its turns, nothing else", () => {
  const { chunks, weights } = episodeToDatum({
    chunks: conversationToChunks(chat, conversation, [image, image]),
  });
  const ids = chunks.flatMap((chunk) =>
    chunk.type === "text"
      ? [...chunk.tokens]
      : Array.from({ length: chunk.image.numTokens }, () => -1),
  );
  const taught = ids.filter((_, i) => weights[i] === 1);
  expect(chat.tokenizer.decode(taught)).toBe(
    `${zoomCall(57, 83)}<|im_end|>${answerTurn("7")}<|im_end|>`,
  );
});

test("images and image parts must agree", () => {
  expect(() => conversationToChunks(chat, conversation, [image])).toThrow(/1 images too many/);
  expect(() => conversationToChunks(chat, conversation, [image, image, image])).toThrow(
    /no message/,
  );
  expect(() => conversationToChunks(chat, conversation.slice(0, 1), [image])).toThrow(/assistant/);
});
