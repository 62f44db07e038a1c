/**
 * Conversations through chat templates, ours beside transformers' (scripts/fixtures/chat_templates.py):
 * through templates of our own, and through those of Qwen's models where trl is installed, which carries
 * them. Where the two differ, it is in the table here.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  ChatFormat,
  type ChatMessage,
  type ImagePiece,
  type TextPiece,
  type TokenPiece,
} from "./chat.ts";
import type { ToolSchema } from "./prompts.ts";
import { loadTokenizer } from "./tokenizer.ts";

const folder = new URL("fixtures", import.meta.url).pathname;
const script = new URL("../../scripts/fixtures/chat_templates.py", import.meta.url).pathname;
const python = process.env.VIGORL_PYTHON ?? join(homedir(), ".cache/vigorl/peers/bin/python");
const hasTrl = spawnSync(python, ["-c", "import trl, transformers"]).status === 0;

const renderedSchema = z.record(
  z.string(),
  z.record(
    z.string(),
    z.union([z.object({ text: z.string(), ids: z.string() }), z.object({ error: z.string() })]),
  ),
);
type Rendered = z.infer<typeof renderedSchema>;

interface Conversation {
  readonly name: string;
  readonly messages: ChatMessage[];
  readonly tools?: ToolSchema[];
  readonly generate?: boolean;
  readonly thinking?: boolean;
}

const fixture = JSON.parse(readFileSync(join(folder, "conversations.json"), "utf8")) as {
  conversations: Conversation[];
  rendered: unknown;
};
const { conversations } = fixture;
const tokenizer = await loadTokenizer(join(folder, "tokenizer"));

/** Where we refuse what transformers renders, by conversation, and in which templates alone. */
const refusals: Record<string, { readonly why: RegExp; readonly only?: readonly string[] }> = {
  // Whoever can write a message could write turns of others with it.
  "control token": { why: /contains the control token/ },
  // The template writes no placeholder where the picture stands: the model would be asked without it.
  "image in an assistant's turn": { why: /wrote 0 image placeholders for 1/, only: ["qwen3_vl"] },
};

/** A switch that a template does not know is nothing to transformers; a recipe that sets it is told. */
function thinkingAs(chat: ChatFormat, { thinking }: Conversation): ChatFormat {
  return thinking !== undefined && chat.hasThinkingSwitch ? chat.withThinking(thinking) : chat;
}

/** The text that we make of a conversation, or why there is none. */
function ours(chat: ChatFormat, conversation: Conversation): string {
  const { messages, tools, generate = true } = conversation;
  try {
    return thinkingAs(chat, conversation)
      .renderPrompt(messages, { addGenerationPrompt: generate, tools })
      .map((piece) => (piece.type === "image" ? "<|image_pad|>" : piece.text))
      .join("");
  } catch (error) {
    return `refused: ${(error as Error).message}`;
  }
}

const imagePad = tokenizer.encode("<|image_pad|>");

/** The token ids of what we make of it, a picture as its placeholder. */
function idsOf(chat: ChatFormat, conversation: Conversation): string {
  const { messages, tools, generate = true } = conversation;
  return thinkingAs(chat, conversation)
    .encodePrompt(messages, { addGenerationPrompt: generate, tools })
    .flatMap((piece) => (piece.type === "image" ? imagePad : [...piece.tokens]))
    .join(" ");
}

/** A conversation as an episode has it: each turn's words behind what came before. */
function grown(chat: ChatFormat, messages: readonly ChatMessage[]): string {
  const text = (pieces: readonly (TextPiece | TokenPiece | ImagePiece)[]): string =>
    pieces
      .map((piece) => {
        if (piece.type === "image") return "<|image_pad|>";
        return "text" in piece ? piece.text : tokenizer.decode(piece.tokens);
      })
      .join("");
  const turns = messages.flatMap(({ role }, i) => (role === "assistant" ? [i] : []));
  let all = text(chat.renderPrompt(messages.slice(0, turns[0]), { addGenerationPrompt: true }));
  for (const [n, at] of turns.entries()) {
    const said = messages.slice(at + 1, turns[n + 1] ?? messages.length);
    const delta = chat.encodeDelta(said, { ended: false, addGenerationPrompt: true });
    all += (messages[at].content as string) + text(delta);
  }
  return all;
}

/** Conversations of words alone, to be grown. */
const several = conversations.filter(
  ({ name, messages, tools, thinking, generate }) =>
    !(name in refusals) &&
    (tools ?? thinking ?? generate) === undefined &&
    messages.some(({ role }) => role === "assistant") &&
    messages.every(({ role, reasoning_content }, i) => {
      return (role !== "system" || i === 0) && reasoning_content === undefined;
    }),
);

/** Which of them come out otherwise when they grow than when they are rendered. */
function rewritten(chat: ChatFormat): string[] {
  const differing = several.filter((conversation) => {
    const anew = ours(chat, conversation);
    return !anew.startsWith("refused") && anew !== grown(chat, conversation.messages);
  });
  return differing.map(({ name }) => name);
}

/** What we make of all conversations, and what we ought to: theirs, or why we refuse. */
function both(chat: ChatFormat, name: string, theirs: Rendered[string]): [string[], string[]] {
  const got: string[] = [];
  const wanted: string[] = [];
  for (const conversation of conversations) {
    const text = ours(chat, conversation);
    const expected = theirs[conversation.name];
    const known = refusals[conversation.name];
    const isKnown = known !== undefined && (known.only?.includes(name) ?? true);
    const refuses =
      "error" in expected ? text.startsWith("refused: ") : isKnown && known.why.test(text);
    const isRefused = refuses || text.startsWith("refused: ");
    const made = isRefused ? text : `${text} ${idsOf(chat, conversation)}`;
    got.push(`${conversation.name}: ${refuses ? "refused" : made}`);
    const said = "error" in expected || isKnown ? "refused" : `${expected.text} ${expected.ids}`;
    wanted.push(`${conversation.name}: ${said}`);
  }
  return [got, wanted];
}

const isThinking = (name: string): boolean => /qwen3_[5-9]|thinking/.test(name);

/** How a template treats what is past, beside how it should. */
function pastOf(chat: ChatFormat, name: string): readonly [object, object] {
  const { rewritesHistory, hasThinkingSwitch } = chat;
  const says = { rewritesHistory, hasThinkingSwitch, some: rewritten(chat).length > 5 };
  const thinks = isThinking(name);
  return [says, { rewritesHistory: thinks, hasThinkingSwitch: thinks, some: thinks }];
}

test("there are 44 conversations", () => {
  expect(conversations).toHaveLength(44);
  expect(several.length).toBeGreaterThan(9);
  expect(conversations.map(({ name }) => name)).toEqual(
    expect.arrayContaining(Object.keys(refusals)),
  );
});

describe("templates of our own", () => {
  test.each(Object.entries(renderedSchema.parse(fixture.rendered)))("%s", (name, theirs) => {
    const text = readFileSync(join(folder, "templates", `${name}.jinja`), "utf8");
    const chat = new ChatFormat(tokenizer, text, name);
    const [got, wanted] = both(chat, name, theirs);
    expect(got).toEqual(wanted);
    const [is, should] = pastOf(chat, name);
    expect(is).toEqual(should);
    expect(isThinking(name) || rewritten(chat).length === 0).toBe(true);
  });
});

describe("a switch for thinking", () => {
  const read = (name: string) =>
    new ChatFormat(
      tokenizer,
      readFileSync(join(folder, "templates", `${name}.jinja`), "utf8"),
      name,
    );

  test("opens a thought, closes an empty one, or does as the template likes", () => {
    const chat = read("thinking-xml");
    const question: ChatMessage[] = [{ role: "user", content: "What?" }];
    const endOf = (of: ChatFormat): string => {
      const [piece] = of.renderPrompt(question, { addGenerationPrompt: true });
      return piece.type === "text" ? piece.text.split("assistant\n")[1] : "";
    };
    expect(endOf(chat)).toBe("<think>\n\n</think>\n\n");
    expect(endOf(chat.withThinking(false))).toBe(endOf(chat));
    expect(endOf(chat.withThinking(true))).toBe("<think>\n");
    expect([chat.opening, chat.withThinking(true).opening]).toEqual(["", "<think>\n"]);
    expect(chat.withThinking(true)).toBe(chat.withThinking(true));
    expect(chat.withThinking(true).withThinking(false).opening).toBe("");
  });

  test("is refused where the template has none", () => {
    expect(() => read("plain-json").withThinking(false)).toThrow(/knows no enable_thinking/);
  });
});

describe.skipIf(!hasTrl)("templates of Qwen's models, as trl carries them (VIGORL_PYTHON)", () => {
  const published = () =>
    z.object({ templates: z.record(z.string(), z.string()), rendered: renderedSchema }).parse(
      JSON.parse(
        execFileSync(python, [script, "published", folder], {
          encoding: "utf8",
          maxBuffer: 2 ** 26,
          stdio: ["ignore", "pipe", "ignore"],
        }),
      ),
    );

  test("come to the same", { timeout: 300_000 }, () => {
    const { templates, rendered } = published();
    expect(Object.keys(templates).length).toBeGreaterThan(4);
    for (const [name, template] of Object.entries(templates)) {
      const chat = new ChatFormat(tokenizer, template, name);
      const [got, wanted] = both(chat, name, rendered[name]);
      expect(got).toEqual(wanted);
      const [is, should] = pastOf(chat, name);
      expect({ name, ...is }).toEqual({ name, ...should });
      expect(isThinking(name) ? [] : rewritten(chat)).toEqual([]);
    }
  });
});
