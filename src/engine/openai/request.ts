/**
 * One sampling call as the body of a chat completion: messages with images as PNG data URLs, and the
 * sampling parameters in the words of the server's dialect. Pixels are those that the model is meant
 * to see, already at their final size; a server that resizes them again is found out by its ids.
 */
import type { ChatCompletionCreateParamsStreaming } from "openai/resources/chat/completions";
import { VigorlError } from "../../core/errors.ts";
import type { ModelImage } from "../../image/model-image.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { pngOf } from "../remote/png.ts";
import type { Chunk, SampleParams } from "../types.ts";
import type { Dialect } from "./dialect.ts";
import { textOf, toConversation, type Message } from "./messages.ts";

export interface WireRequest {
  readonly body: ChatCompletionCreateParamsStreaming;
  /** The assistant's text that the server was asked in words to go on from, or null. */
  readonly restated: string | null;
  /** The prompt ends inside an assistant message that has begun. */
  readonly isOpen: boolean;
  /** Stop strings that have to be looked for here. */
  readonly stop: readonly string[];
}

export interface RequestSettings {
  readonly model: string;
  readonly dialect: Dialect;
  readonly tokenizer: Tokenizer;
  readonly continueRequest: string;
}

/** @throws VigorlError("usage") for a parameter that the server does not have. */
export async function toRequest(
  prompt: readonly Chunk[],
  params: SampleParams,
  { model, dialect, tokenizer, continueRequest }: RequestSettings,
): Promise<WireRequest> {
  if (params.topK > 0 && !dialect.topK) {
    throw new VigorlError("usage", `${model}: the server has no top-k sampling`, {
      hint: "set topK to 0",
    });
  }
  const { messages, open } = toConversation(prompt, tokenizer);
  const wire: WireMessage[] = await Promise.all(messages.map(wireMessage));
  const isRestated = open !== "" && dialect.continues === "never";
  if (open !== "") wire.push({ role: "assistant", content: open });
  if (isRestated) wire.push({ role: "user", content: continueRequest });
  const continues = open !== "" && dialect.continues === "asked";
  const asksIds = dialect.ids !== "never";
  const body = {
    model,
    messages: wire,
    stream: true,
    ...(dialect.tellsUsage ? { stream_options: { include_usage: true } } : {}),
    [dialect.maxTokensKey]: params.maxTokens,
    temperature: params.temperature,
    top_p: params.topP,
    seed: params.seed,
    ...(params.topK > 0 ? { top_k: params.topK } : {}),
    ...(dialect.keepStop !== null && params.stop.length > 0
      ? { stop: [...params.stop], ...dialect.keepStop }
      : {}),
    ...(continues ? { continue_final_message: true, add_generation_prompt: false } : {}),
    ...(asksIds ? { logprobs: true, return_token_ids: true } : {}),
    ...(dialect.name === "sglang" ? { return_prompt_token_ids: true } : {}),
    ...(dialect.isOurs ? { input_ids: promptIds(prompt, tokenizer, "one") } : {}),
  };
  return {
    // The extras of vLLM, SGLang and ours are not in the published type.
    body: body as ChatCompletionCreateParamsStreaming,
    restated: isRestated ? open : null,
    isOpen: open !== "",
    stop: dialect.keepStop === null ? params.stop : [],
  };
}

/** The ids of a prompt, with one placeholder an image or as many as it has positions. */
export function promptIds(
  prompt: readonly Chunk[],
  tokenizer: Tokenizer,
  placeholders: "one" | "all",
): number[] {
  return prompt.flatMap((chunk) => {
    if (chunk.type === "text") return [...chunk.tokens];
    const count = placeholders === "one" ? 1 : chunk.image.numTokens;
    return Array.from({ length: count }, () => tokenizer.imagePadId);
  });
}

type WirePart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string } };
interface WireMessage {
  readonly role: string;
  readonly content: string | readonly WirePart[];
}

async function wireMessage(message: Message): Promise<WireMessage> {
  const { role, parts } = message;
  if (parts.every((part) => part.type === "text")) return { role, content: textOf(message) };
  const content = parts.map(async (part): Promise<WirePart> =>
    part.type === "text"
      ? part
      : { type: "image_url", image_url: { url: await dataUrl(part.image) } },
  );
  return { role, content: await Promise.all(content) };
}

async function dataUrl(image: ModelImage): Promise<string> {
  return `data:image/png;base64,${Buffer.from(await pngOf(image)).toString("base64")}`;
}
