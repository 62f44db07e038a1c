/**
 * Tools in the protocol's form: what a request may offer, a call of the model as `tool_calls`, and both
 * back as the words that the model wrote and was answered in. The server keeps nothing: a call's id
 * holds the very text of the call, so that a conversation that comes back is read as it was sampled.
 */
import type { EpisodeConfig } from "../task/episode-config.ts";
import type { ChatMessage, ContentPart } from "../text/chat.ts";
import { parseTurn } from "../text/grammar.ts";
import {
  fillPlace,
  observationText,
  observationTexts,
  type PromptSet,
  type ToolSchema,
} from "../text/prompts.ts";
import { ApiError } from "./api-error.ts";
import type { CompletionRequest, RequestCall, ToolMessage } from "./request-schema.ts";

/** How tools are spoken of by the served model. */
export type ToolFormat = Pick<EpisodeConfig, "chat" | "dialect" | "tools">;

/** What a request offers to the model. */
export interface OfferedTools {
  /** For the chat template; empty where the model is told in words, or was trained with its tools. */
  readonly schemas: readonly ToolSchema[];
}

export function isOffering({ tools, tool_choice }: CompletionRequest): boolean {
  return (tools?.length ?? 0) > 0 && tool_choice !== "none";
}

/** @throws ApiError 400 for a tool that the model cannot be told of */
export function offeredTools(
  request: CompletionRequest,
  { chat, dialect, tools: own }: ToolFormat,
): OfferedTools | null {
  const { stop, input_ids, continue_final_message, tools } = request;
  if (!tools || !isOffering(request)) return null;
  const clash = Object.entries({ stop, continue_final_message }).find(
    ([, value]) => value !== undefined && value !== null && value !== false,
  );
  if (clash !== undefined)
    throw new ApiError(400, `${clash[0]}: does not go with tools; a turn ends with what it does`, {
      param: clash[0],
    });
  if (input_ids && chat.opening !== "")
    throw new ApiError(400, "input_ids: do not go with tools where the template opens a thought", {
      param: "input_ids",
    });
  if (dialect.tells === "schemas" && chat.tellsTools)
    return {
      schemas: tools.map(({ function: { name, description, parameters } }) => ({
        type: "function",
        function: { name, description: description ?? "", parameters: parameters ?? {} },
      })),
    };
  const known = own.flatMap(({ names }) => [...names]);
  const unknown = tools.find((tool) => !known.includes(tool.function.name));
  if (unknown !== undefined)
    throw new ApiError(
      400,
      `tools: this model knows ${known.join(", ") || "none"}, and cannot be told of ${JSON.stringify(unknown.function.name)}`,
      { param: "tools" },
    );
  return { schemas: [] };
}

/** A call as a reply holds it. */
export interface WrittenCall {
  readonly id: string;
  readonly name: string;
  /** JSON. */
  readonly arguments: string;
}

/**
 * The call of a turn, and what was said before it; null where it calls nothing that can be read.
 * @param opening the thought that the template opened before `text`
 */
export function callOf(
  text: string,
  turn: number,
  { dialect, tools }: ToolFormat,
  opening = "",
): { readonly content: string; readonly call: WrittenCall } | null {
  const { segments, toolCall } = parseTurn(opening + text, dialect);
  if (toolCall?.ok !== true) return null;
  const first = segments.find(({ kind }) => kind === "toolCall" || kind === "answer");
  if (first?.kind !== "toolCall") return null;
  const name = toolCall.call.name ?? tools[0]?.names[0];
  if (name === undefined) return null;
  const bodyAt = first.start - opening.length;
  const content = text.slice(0, text.slice(0, bodyAt).lastIndexOf("<")).trimEnd();
  const id = `call_${turn}_${Buffer.from(text.slice(content.length)).toString("base64url")}`;
  return { content, call: { id, name, arguments: JSON.stringify(toolCall.call.args) } };
}

/** A call as the model wrote it; one that another program made is written in the model's way. */
export function callText(call: RequestCall, { dialect }: ToolFormat, place: string): string {
  const { name, arguments: json } = call.function;
  const args = argumentsOf(json, `${place}.function.arguments`);
  const written = /^call_\d+_([\w-]+)$/.exec(call.id)?.[1];
  if (written !== undefined) {
    const text = Buffer.from(written, "base64url").toString();
    const read = parseTurn(text, dialect).toolCall;
    const isSame =
      read?.ok === true &&
      (read.call.name ?? name) === name &&
      JSON.stringify(read.call.args) === JSON.stringify(args);
    if (isSame) return text;
  }
  const { open, close } = dialect.tags.toolCall;
  return `\n${open}\n${dialect.write({ name: dialect.isNameless ? null : name, args })}\n${close}`;
}

/** What a client found out for a call, as the message in which the model is told. */
export function observationOf(
  { content }: ToolMessage,
  call: RequestCall,
  { dialect }: ToolFormat,
  prompts: PromptSet,
): ChatMessage {
  const parts = typeof content === "string" ? [{ type: "text" as const, text: content }] : content;
  const said = parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("");
  const images = parts.filter(({ type }) => type === "image_url");
  if (images.length === 0) return { role: "user", content: observationText(said, dialect) };
  const words = said === "" ? wordsFor(call, prompts) : said;
  const [before, after] = observationTexts(words, dialect);
  const text = (one: string): ContentPart => ({ type: "text", text: one });
  const shown = images.map((): ContentPart => ({ type: "image" }));
  return { role: "user", content: [text(before), ...shown, text(after)] };
}

/** What an episode says before an enlarged part, where the call names a place. */
function wordsFor(call: RequestCall, { observation }: PromptSet): string {
  const { coordinate, bbox_2d } = argumentsOf(call.function.arguments, "arguments");
  const [x0, y0, x1, y1] = [coordinate, bbox_2d].find(isNumbers) ?? [];
  if (x0 === undefined || y0 === undefined) return "";
  const middle = (a: number, b: number) => Math.round((a + b) / 2);
  const isBox = x1 !== undefined && y1 !== undefined;
  return fillPlace(
    observation,
    isBox ? { x: middle(x0, x1), y: middle(y0, y1) } : { x: x0, y: y0 },
  );
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((one) => typeof one === "number");
}

function argumentsOf(json: string, place: string): Record<string, unknown> {
  const wrong = new ApiError(400, `${place}: not a JSON object`, { param: place });
  let args: unknown;
  try {
    args = JSON.parse(json === "" ? "{}" : json);
  } catch {
    throw wrong;
  }
  if (typeof args !== "object" || args === null || Array.isArray(args)) throw wrong;
  return args as Record<string, unknown>;
}
