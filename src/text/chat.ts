/**
 * Conversations as the model was trained to see them: the folder's own chat template, rendered and
 * cut at its image placeholders. The next turn of a running episode is a *delta*: the text that the
 * template puts after an assistant message, so that nothing already sampled is tokenised again.
 * Tools are told by the template as JSON schemas where it can; else the system prompt describes them.
 */
import { join } from "node:path";
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { readModelJson, readModelText } from "../core/json-file.ts";
import { BoundedTemplate } from "./bounded-template.ts";
import type { ToolSchema } from "./prompts.ts";
import { defaultTags } from "./tags.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

export type ContentPart =
  { readonly type: "text"; readonly text: string } | { readonly type: "image" };

/** Images stand in `content` as parts without pixels; the n-th of all messages is image n. */
export interface ChatMessage {
  /** `tool`: what a call came to, for templates that know the role. */
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string | readonly ContentPart[];
  /** What an assistant thought, for templates that tell it apart from what it said. */
  readonly reasoning_content?: string;
  /** Calls for the template to write; ours are part of what is said. */
  readonly tool_calls?: readonly TemplateCall[];
}

/** A call as templates take it. */
export interface TemplateCall {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly arguments: Readonly<Record<string, unknown>>;
  };
}

/**
 * A prompt between its images. The text pieces around an image end and begin with the tokens that the
 * template puts there; `index` counts images from 0.
 */
export type TextPiece = { readonly type: "text"; readonly text: string };
export type TokenPiece = { readonly type: "text"; readonly tokens: readonly number[] };
export type ImagePiece = { readonly type: "image"; readonly index: number };

export interface RenderOptions {
  /** End with the opening of an assistant message. */
  readonly addGenerationPrompt?: boolean;
  /** Leave the last assistant message open, for the model to go on with it. */
  readonly continueFinal?: boolean;
  /** Told by the template; see `tellsTools`. */
  readonly tools?: readonly ToolSchema[];
}

/** A folder's tokenizer and chat template: everything that turns words into prompt tokens. */
export class ChatFormat {
  readonly tokenizer: Tokenizer;
  /** Ends every message: the template's own token after an assistant message. */
  readonly endOfTurnId: number;
  /** Whether the template tells a model of tools that it is given. */
  readonly tellsTools: boolean;
  /**
   * The opening of a thought that the template ends every prompt with, for models that always think;
   * empty where it leaves that to them.
   */
  readonly opening: string;
  /** Whether the template thinks or not as it is told (`enable_thinking`). */
  readonly hasThinkingSwitch: boolean;

  private readonly switched = new Map<boolean, ChatFormat>();
  private readonly templateText: string;
  private readonly template: BoundedTemplate;
  private readonly variables: Record<string, unknown>;
  private readonly source: string;
  private readonly endOfTurn: string;

  /** @throws VigorlError("input") when the template does not parse or render. */
  constructor(
    tokenizer: Tokenizer,
    template: string,
    source: string,
    variables: Record<string, unknown> = {},
  ) {
    this.tokenizer = tokenizer;
    this.source = source;
    this.variables = variables;
    this.templateText = template;
    try {
      this.template = new BoundedTemplate(template);
    } catch (error) {
      throw new VigorlError("input", `${source}: the chat template does not parse`, {
        cause: error,
      });
    }
    const after = this.afterAssistant([], false);
    const end = tokenizer.encode(after)[0];
    if (end === undefined) {
      throw new VigorlError(
        "input",
        `${source}: the chat template never ends an assistant message`,
      );
    }
    this.endOfTurnId = end;
    this.endOfTurn = tokenizer.decode([end]);
    this.tellsTools = this.findsTools();
    this.opening = this.findOpening();
    this.hasThinkingSwitch = this.findsSwitch();
  }

  /**
   * This format with thinking switched on or off.
   * @throws VigorlError("usage") where the template knows no such switch
   */
  withThinking(on: boolean): ChatFormat {
    if (!this.hasThinkingSwitch) {
      throw new VigorlError("usage", `${this.source}: the chat template knows no enable_thinking`, {
        hint: "leave thinking out: the model thinks, or does not, as it was made to",
      });
    }
    let format = this.switched.get(on);
    if (format === undefined) {
      const variables = { ...this.variables, enable_thinking: on };
      format = new ChatFormat(this.tokenizer, this.templateText, this.source, variables);
      this.switched.set(on, format);
    }
    return format;
  }

  /**
   * Whether the template, given a conversation anew, writes earlier turns otherwise than a conversation
   * that grew turn by turn has them: most often it leaves thoughts out.
   */
  get rewritesHistory(): boolean {
    const { open, close } = defaultTags.think;
    const thought = `${open}\nWhy?\n${close}\n\nYes.`;
    const first: ChatMessage[] = [{ role: "user", content: "One" }];
    const next: ChatMessage[] = [{ role: "user", content: "Two" }];
    const written = this.opening === "" ? thought : thought.slice(open.length).trimStart();
    const grown = this.render(first, true) + written + this.afterAssistant(next, true);
    return (
      grown !== this.render([...first, { role: "assistant", content: thought }, ...next], true)
    );
  }

  /**
   * The prompt of `messages`, cut at its images.
   * @throws VigorlError("input") when a message holds a control token or the template drops an image.
   */
  renderPrompt(
    messages: readonly ChatMessage[],
    options: RenderOptions = {},
  ): (TextPiece | ImagePiece)[] {
    messages.forEach((message, i) => this.refuseControlTokens(message, i));
    const text = options.continueFinal
      ? this.renderOpen(messages)
      : this.render(messages, options.addGenerationPrompt ?? false, options.tools);
    return this.cut(text, countImages(messages));
  }

  /** As `renderPrompt`, tokenised. */
  encodePrompt(
    messages: readonly ChatMessage[],
    options: RenderOptions = {},
  ): (TokenPiece | ImagePiece)[] {
    return this.encodePieces(this.renderPrompt(messages, options));
  }

  /**
   * What follows an assistant message whose tokens are already there: the end of its turn (left out
   * when `ended`, the model wrote it itself), the `messages`, and the opening of the next one.
   * Image indices start at 0 again.
   */
  encodeDelta(
    messages: readonly ChatMessage[],
    options: { readonly ended: boolean; readonly addGenerationPrompt: boolean },
  ): (TokenPiece | ImagePiece)[] {
    messages.forEach((message, i) => this.refuseControlTokens(message, i));
    const after = this.afterAssistant(messages, options.addGenerationPrompt);
    const text = options.ended ? after.slice(this.endOfTurn.length) : after;
    return this.encodePieces(this.cut(text, countImages(messages)));
  }

  private encodePieces(pieces: readonly (TextPiece | ImagePiece)[]): (TokenPiece | ImagePiece)[] {
    return pieces.map((piece) =>
      piece.type === "image" ? piece : { type: "text", tokens: this.tokenizer.encode(piece.text) },
    );
  }

  private render(
    messages: readonly ChatMessage[],
    addGenerationPrompt: boolean,
    tools: readonly ToolSchema[] = [],
    more: Readonly<Record<string, unknown>> = {},
  ): string {
    try {
      const told = tools.length === 0 ? {} : { tools };
      const texts = [JSON.stringify(tools), ...messages.map(textOf)];
      return this.template.render(
        {
          ...this.variables,
          messages,
          add_generation_prompt: addGenerationPrompt,
          ...told,
          ...more,
        },
        {
          messages: messages.length,
          characters: texts.reduce((total, { length }) => total + length, 0),
        },
      );
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new VigorlError("input", `${this.source}: the chat template failed: ${reason}`, {
        cause: error,
      });
    }
  }

  /** Renders a tool of an unlikely name and looks for it; a template that fails on it tells none. */
  private findsTools(): boolean {
    const name = "tool_to_be_found";
    const parameters = { type: "object", properties: {} };
    const probe: ToolSchema = {
      type: "function",
      function: { name, description: "none", parameters },
    };
    try {
      return this.render([{ role: "user", content: "" }], true, [probe]).includes(name);
    } catch {
      return false;
    }
  }

  /** Templates that fail on a message alone have no switch that we could find. */
  private findsSwitch(): boolean {
    const told = (enable_thinking: boolean): string =>
      this.render([{ role: "user", content: "" }], true, [], { enable_thinking });
    return told(true) !== told(false);
  }

  private findOpening(): string {
    const prompt = this.render([{ role: "user", content: "" }], true);
    const { open } = defaultTags.think;
    const tail = prompt.slice(Math.max(0, prompt.lastIndexOf(open)));
    return tail.trim() === open ? tail : "";
  }

  private renderOpen(messages: readonly ChatMessage[]): string {
    const last = messages.at(-1);
    if (last?.role !== "assistant" || typeof last.content !== "string") {
      throw new VigorlError("usage", "only a final assistant message of text can be continued");
    }
    const opened = [...messages.slice(0, -1), { role: last.role, content: MARK }];
    const text = this.render(opened, false);
    return text.slice(0, this.findMark(text)) + last.content;
  }

  private afterAssistant(messages: readonly ChatMessage[], addGenerationPrompt: boolean): string {
    const conversation = [
      { role: "user" as const, content: "" },
      { role: "assistant" as const, content: MARK },
      ...messages,
    ];
    const text = this.render(conversation, addGenerationPrompt);
    return text.slice(this.findMark(text) + MARK.length);
  }

  private findMark(text: string): number {
    const at = text.lastIndexOf(MARK);
    if (at >= 0) return at;
    throw new VigorlError("input", `${this.source}: the chat template drops assistant messages`);
  }

  private cut(text: string, numImages: number): (TextPiece | ImagePiece)[] {
    const pad = this.tokenizer.decode([this.tokenizer.imagePadId]);
    const texts = text.split(pad);
    if (texts.length - 1 !== numImages) {
      throw new VigorlError(
        "input",
        `${this.source}: the chat template wrote ${texts.length - 1} image placeholders for ${numImages} images`,
        { hint: `each image part has to become one ${pad}` },
      );
    }
    return texts.flatMap((piece, index): (TextPiece | ImagePiece)[] => {
      const image: ImagePiece[] = index === 0 ? [] : [{ type: "image", index: index - 1 }];
      return piece === "" ? image : [...image, { type: "text", text: piece }];
    });
  }

  private refuseControlTokens(message: ChatMessage, position: number): void {
    // Templates write the parts of a message one behind the other: a token may be cut over several.
    const text = textOf(message);
    for (const token of this.tokenizer.specialTokens.keys()) {
      if (!text.includes(token)) continue;
      throw new VigorlError(
        "input",
        `message ${position + 1} contains the control token ${token}`,
        {
          hint: "remove it; images are passed as image parts, and turns end by themselves",
        },
      );
    }
  }
}

/** Reads tokenizer and chat template of a model folder. */
export async function loadChatFormat(folder: string): Promise<ChatFormat> {
  const tokenizer = await loadTokenizer(folder);
  const found = await findTemplate(folder);
  const { length } = found.template;
  if (length > maxTemplateLength)
    throw new VigorlError(
      "input",
      `${found.source}: a chat template of ${length.toLocaleString("en")} characters; at most ${maxTemplateLength.toLocaleString("en")} are read`,
      { hint: "take it from where the model was published" },
    );
  return new ChatFormat(tokenizer, found.template, found.source, found.variables);
}

/** Fifty times the longest that is published. */
const maxTemplateLength = 1 << 19;

/** Stands in for an assistant message while its surroundings are rendered. */
const MARK = "\u2063assistant\u2063";

const namedTemplate = z.looseObject({ name: z.string(), template: z.string() });
const templateFile = z.looseObject({
  chat_template: z.union([z.string(), z.array(namedTemplate)]).optional(),
  bos_token: z.unknown().optional(),
  eos_token: z.unknown().optional(),
});

async function findTemplate(
  folder: string,
): Promise<{ template: string; source: string; variables: Record<string, unknown> }> {
  const configPath = join(folder, "tokenizer_config.json");
  const config = await readTemplateFile(configPath);
  const variables = {
    bos_token: tokenText(config?.bos_token),
    eos_token: tokenText(config?.eos_token),
  };
  const plainPath = join(folder, "chat_template.jinja");
  const plain = await readModelText(plainPath);
  if (plain !== undefined) return { template: plain, source: plainPath, variables };
  const jsonPath = join(folder, "chat_template.json");
  for (const [source, file] of [
    [jsonPath, await readTemplateFile(jsonPath)],
    [configPath, config],
  ] as const) {
    const entry = file?.chat_template;
    const template =
      typeof entry === "string" ? entry : entry?.find(({ name }) => name === "default")?.template;
    if (template !== undefined) return { template, source, variables };
  }
  throw new VigorlError("input", `${folder}: no chat template`, {
    hint: "it stands in chat_template.jinja, chat_template.json or tokenizer_config.json",
  });
}

async function readTemplateFile(path: string): Promise<z.infer<typeof templateFile> | undefined> {
  const json = await readModelJson(path);
  if (json === undefined) return undefined;
  try {
    return templateFile.parse(json);
  } catch (error) {
    throw new VigorlError("input", `${path}: no chat template can be read from it`, {
      cause: error,
    });
  }
}

function tokenText(token: unknown): string | undefined {
  if (typeof token === "string") return token;
  if (typeof token === "object" && token !== null && "content" in token)
    return typeof token.content === "string" ? token.content : undefined;
  return undefined;
}

function countImages(messages: readonly ChatMessage[]): number {
  return messages.reduce(
    (total, { content }) =>
      total +
      (typeof content === "string" ? 0 : content.filter((part) => part.type === "image").length),
    0,
  );
}

/** All that a message says, in one. */
function textOf({ content, reasoning_content: reasoning = "", tool_calls: calls }: ChatMessage) {
  const said =
    typeof content === "string"
      ? content
      : content.map((part) => (part.type === "text" ? part.text : "")).join("");
  const called = calls === undefined ? "" : JSON.stringify(calls);
  return `${reasoning}${said}${called}`;
}
