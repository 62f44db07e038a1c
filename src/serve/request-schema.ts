/**
 * The body of `POST /v1/chat/completions`: the published protocol, and the extras of vLLM that make a
 * reply trainable. A parameter that we do not have is refused by name, unless it says nothing
 * (a penalty of 0); what only describes the caller is taken and not used.
 */
import { z } from "zod";

/** What says nothing in any protocol: a key that clients write out where they have no value. */
const nothing = z.null().optional();

const text = z.strictObject({ type: z.literal("text"), text: z.string() });
const image = z.strictObject({
  type: z.literal("image_url"),
  image_url: z.strictObject({
    url: z.string(),
    /** Taken and not used: every image is brought into the model's own pixel budget. */
    detail: z.enum(["auto", "low", "high", "original"]).nullish(),
  }),
});
const wanted = { error: "send a text or a list of parts" };
const texts = z.union([z.string(), z.array(text)], wanted);
/** Describes the caller; taken and not used. */
const name = z.string().nullish();

const toolName = z.string().regex(/^[\w.-]{1,128}$/, "a name of letters, digits, dot, dash");
const call = z.strictObject({
  id: z.string(),
  type: z.literal("function"),
  function: z.strictObject({
    name: toolName,
    arguments: z.string(),
    /** What the client made of the arguments; clients send it back. */
    parsed_arguments: z.unknown().optional(),
  }),
  /** Of a piece of a stream, which clients keep. */
  index: z.int().nullish(),
});
export type RequestCall = z.infer<typeof call>;

/** What a client found out for a call; images beside the text, as the protocol has them of a user. */
const toolMessage = z.strictObject({
  role: z.literal("tool"),
  tool_call_id: z.string(),
  content: z.union([z.string(), z.array(z.discriminatedUnion("type", [text, image]))], wanted),
  name,
});
export type ToolMessage = z.infer<typeof toolMessage>;

const tool = z.strictObject({
  type: z.literal("function"),
  function: z.strictObject({
    name: toolName,
    description: z.string().nullish(),
    /** A JSON schema; told to models whose template tells tools, and otherwise not looked at. */
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
});

const messageSchema = z.discriminatedUnion("role", [
  z.strictObject({ role: z.enum(["system", "developer"]), content: texts, name }),
  z.strictObject({
    role: z.literal("user"),
    content: z.union([z.string(), z.array(z.discriminatedUnion("type", [text, image]))], wanted),
    name,
  }),
  // As a reply gives it, so that it can be handed back.
  z.strictObject({
    role: z.literal("assistant"),
    content: texts.nullish().transform((content) => content ?? ""),
    /** Told to templates that know thoughts; others pass it over. */
    reasoning_content: z.string().nullish(),
    name,
    refusal: nothing,
    annotations: z.array(z.never()).nullish(),
    audio: nothing,
    function_call: nothing,
    parsed: nothing,
    tool_calls: z.array(call).max(1, "the model makes one call a turn").nullish(),
  }),
  toolMessage,
]);
export type RequestMessage = z.infer<typeof messageSchema>;

const maxTokens = z.int().min(1).nullish();
const unused = z.unknown().optional();

/** More than any conversation has; a body with more is refused before its messages are looked at. */
const MAX_MESSAGES = 4096;

export const completionRequestSchema = z
  .strictObject({
    model: z.string(),
    messages: z.array(messageSchema).min(1).max(MAX_MESSAGES),
    stream: z.boolean().nullish(),
    stream_options: z
      .strictObject({
        include_usage: z.boolean().nullish(),
        include_obfuscation: z.literal(false).nullish(),
      })
      .nullish(),
    n: z.int().min(1).max(64).nullish(),
    max_tokens: maxTokens,
    max_completion_tokens: maxTokens,
    temperature: z.number().min(0).max(100).nullish(),
    top_p: z.number().gt(0).max(1).nullish(),
    /** 0 and −1 switch it off. */
    top_k: z.int().min(-1).nullish(),
    seed: z.int().nullish(),
    stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(16)]).nullish(),
    logprobs: z.boolean().nullish(),

    add_generation_prompt: z.boolean().nullish(),
    continue_final_message: z.boolean().nullish(),
    include_stop_str_in_output: z.boolean().nullish(),
    return_token_ids: z.boolean().nullish(),
    /** The ids of the rendered messages, one placeholder an image: as they were, not as text reads. */
    input_ids: z.array(z.int().min(0)).nullish(),

    tools: z.array(tool).max(64).nullish(),
    /** Whether the model calls is its own choice. */
    tool_choice: z.enum(["none", "auto"]).nullish(),
    vigorl: z
      .strictObject({
        /** The server carries calls out itself, and replies with the answer. */
        play: z.boolean(),
      })
      .nullish(),

    top_logprobs: z.literal(0).nullish(),
    frequency_penalty: z.literal(0).nullish(),
    presence_penalty: z.literal(0).nullish(),
    repetition_penalty: z.literal(1).nullish(),
    length_penalty: z.literal(1).nullish(),
    min_p: z.literal(0).nullish(),
    min_tokens: z.literal(0).nullish(),
    logit_bias: z.strictObject({}).nullish(),
    response_format: z.strictObject({ type: z.literal("text") }).nullish(),
    modalities: z.array(z.literal("text")).nullish(),
    functions: z.array(z.never()).nullish(),
    function_call: z.enum(["none", "auto"]).nullish(),
    stop_token_ids: z.array(z.never()).nullish(),
    bad_words: z.array(z.never()).nullish(),
    /** Variables of the model's chat template: whether it thinks first, where that can be chosen. */
    chat_template_kwargs: z.strictObject({ enable_thinking: z.boolean().nullish() }).nullish(),
    mm_processor_kwargs: z.strictObject({}).nullish(),
    documents: z.array(z.never()).nullish(),
    use_beam_search: z.literal(false).nullish(),
    ignore_eos: z.literal(false).nullish(),
    echo: z.literal(false).nullish(),
    add_special_tokens: z.literal(false).nullish(),
    skip_special_tokens: z.literal(true).nullish(),
    spaces_between_special_tokens: z.literal(true).nullish(),
    audio: nothing,
    chat_template: nothing,
    moderation: nothing,
    prediction: nothing,
    prompt_cache_retention: nothing,
    prompt_logprobs: nothing,
    reasoning_effort: nothing,
    structured_outputs: nothing,
    verbosity: nothing,
    web_search_options: nothing,

    user: unused,
    metadata: unused,
    store: unused,
    service_tier: unused,
    safety_identifier: unused,
    prompt_cache_key: unused,
    parallel_tool_calls: unused,
  })
  .refine((body) => !(body.continue_final_message && body.add_generation_prompt), {
    message: "continue_final_message and add_generation_prompt exclude each other",
    path: ["continue_final_message"],
  });
export type CompletionRequest = z.infer<typeof completionRequestSchema>;
