/** Token ids of a warm start's conversations, and which of them are learned. */
import { patches14 } from "../../../src/image/fixtures/preprocessor.ts";
import { conversationToChunks } from "../../../src/task/conversation.ts";
import { chat, gradientImage, zoomCall } from "../../../src/task/fixtures/scene.ts";
import { recordPictures } from "../../../src/task/pictures.ts";
import { episodeToDatum } from "../../../src/task/trajectory.ts";
import type { ChatMessage } from "../../../src/text/chat.ts";
import { withLineBreaks } from "../../../src/train/line-breaks.ts";
import type { Kind } from "../kind.ts";
import { disturbed, thought } from "../words.ts";
import { idsOf } from "./rl-masks.ts";

interface Input {
  readonly system: string;
  readonly question: string;
  /** What the assistant says; pictures come between. */
  readonly turns: readonly string[];
}

const budget = { minPixels: 1, maxPixels: 1e9 };
const [{ seen }] = recordPictures([gradientImage(112, 84)], budget, patches14);
const marks = ["<|vision_start|>", "<|image_pad|>".repeat(seen.numTokens), "<|vision_end|>"].join(
  "",
);

export const sftMasks: Kind<Input> = {
  name: "sft-masks",
  isLarge: true,
  make(random, style) {
    const odd = (text: string) =>
      style === "hostile" && random.chance(0.4)
        ? disturbed(text, random).replaceAll("<|", "")
        : text;
    const turns = Array.from({ length: random.int(0, 3) }, () =>
      odd(zoomCall(random.int(0, 111), random.int(0, 83))),
    );
    const answer = `<think> ${thought(random)} </think>\n<answer> ${random.int(0, 9)} </answer>`;
    const question = odd(`Which digit is on it?${random.pick(["", "\n", " A. 1 B. 2"])}`);
    return { system: "You look closely.", question, turns: [...turns, odd(answer)] };
  },
  ask: ({ system, question, turns }) => [
    messagesOf(question, turns, (before, after) => before + marks + after),
    system,
  ],
  ours({ system, question, turns }) {
    const image = (before: string, after: string): ChatMessage["content"] => [
      { type: "text", text: before },
      { type: "image" },
      { type: "text", text: after },
    ];
    const messages = [
      { role: "system" as const, content: system },
      ...messagesOf(question, turns, image),
    ];
    const chunks = conversationToChunks(
      chat,
      messages,
      turns.map(() => seen),
    );
    const example = withLineBreaks({ id: "one", task: "", category: "", chunks }, chat);
    const { weights } = episodeToDatum(example);
    const ids = example.chunks.flatMap(idsOf);
    return { ids, mask: ids.map((_, i) => weights[i] ?? 0) };
  },
  differences: [],
};

function messagesOf<T>(
  question: string,
  turns: readonly string[],
  image: (before: string, after: string) => T,
): { role: "user" | "assistant"; content: T | string }[] {
  return turns.flatMap((text, i) => {
    const shown =
      i === 0 ? image("", question) : image("<observation>\nThere:\n", "\n</observation>");
    return [
      { role: "user" as const, content: shown },
      { role: "assistant" as const, content: text },
    ];
  });
}
