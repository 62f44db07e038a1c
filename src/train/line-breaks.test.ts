import { expect, test } from "vitest";
import { conversationToChunks } from "../task/conversation.ts";
import { answerTurn, chat, digitRecord, smallConfig, zoomCall } from "../task/fixtures/scene.ts";
import { promptMessages } from "../task/prompt.ts";
import { episodeToDatum, toChunks } from "../task/trajectory.ts";
import { withLineBreaks } from "./line-breaks.ts";

test("the line break behind each end of turn is trained; the tokens stay, but for one at the end", () => {
  const prompts = smallConfig({}).promptsFor("text");
  const record = { ...digitRecord, images: [] };
  const chunks = conversationToChunks(
    chat,
    [
      ...promptMessages(record, prompts),
      { role: "assistant", content: zoomCall(5, 6) },
      { role: "user", content: "Nothing there." },
      { role: "assistant", content: answerTurn("7") },
    ],
    [],
  );
  const example = { id: "a", task: "", category: "", chunks };
  const broken = withLineBreaks(example, chat);
  const ids = (from: typeof example) =>
    toChunks(from.chunks).flatMap((chunk) => (chunk.type === "text" ? [...chunk.tokens] : []));
  expect(ids(broken)).toEqual([...ids(example), ...chat.tokenizer.encode("\n")]);
  const { weights } = episodeToDatum(broken);
  const taught = ids(broken).filter((_, i) => weights[i] === 1);
  expect(chat.tokenizer.decode(taught)).toBe(
    `${zoomCall(5, 6)}<|im_end|>\n${answerTurn("7")}<|im_end|>\n`,
  );
});
