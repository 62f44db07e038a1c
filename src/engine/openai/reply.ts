/**
 * Reads the event stream of one chat completion. A stop string that the server does not look for is
 * looked for here, and the connection is dropped when it came. Every event is checked: what is not of
 * the protocol, or ends before its finish reason, is an error and never a short answer.
 */
import { z } from "zod";
import type { Usage } from "../types.ts";
import { continuation } from "./restate.ts";

/** What a server answered. Arrays stand for tokens; they are null where the server has none. */
export interface Reply {
  readonly text: string;
  readonly tokenIds: readonly number[] | null;
  readonly logprobs: readonly number[] | null;
  readonly promptIds: readonly number[] | null;
  /** "cut": a stop string was found here. */
  readonly finish: "stop" | "length" | "cut";
  readonly weightsVersion: number;
  /** Characters of reasoning that came beside the text. */
  readonly numReasoning: number;
  /** Null where the server did not say, or was cut off before it could. */
  readonly usage: Usage | null;
}

export interface ReadOptions {
  /** What was asked for; a reply that is far longer is broken off. */
  readonly maxTokens: number;
  readonly stop: readonly string[];
  /** The text that the server was asked in words to continue, or null. */
  readonly restated: string | null;
  /** Called at every event: the server is alive. */
  readonly onEvent: () => void;
}

/** An answer that is not of the protocol, or not whole. */
export class BrokenReply extends Error {
  /** The server has decided so; asking again would not help. */
  readonly isFinal: boolean;

  constructor(message: string, isFinal = false) {
    super(message);
    this.isFinal = isFinal;
  }
}

const eventSchema = z.looseObject({
  choices: z.array(
    z.looseObject({
      delta: z
        .looseObject({
          content: z.string().nullish(),
          refusal: z.string().nullish(),
          /** Two spellings of the same. */
          reasoning_content: z.string().nullish(),
          reasoning: z.string().nullish(),
        })
        .nullish(),
      finish_reason: z.string().nullish(),
      token_ids: z.array(z.int().nonnegative()).nullish(),
      prompt_token_ids: z.array(z.int().nonnegative()).nullish(),
      logprobs: z
        .looseObject({ content: z.array(z.looseObject({ logprob: z.number() })).nullish() })
        .nullish(),
    }),
  ),
  prompt_token_ids: z.array(z.int().nonnegative()).nullish(),
  weights_version: z.int().nullish(),
  usage: z
    .looseObject({
      prompt_tokens: z.int().nonnegative(),
      completion_tokens: z.int().nonnegative(),
    })
    .nullish()
    // A count that is none costs the count, not the reply.
    .catch(null),
});

/** @throws BrokenReply, or what the stream throws. */
export async function readReply(
  events: AsyncIterable<unknown>,
  { stop, restated, maxTokens, onEvent }: ReadOptions,
): Promise<Reply> {
  const maxChars = (restated?.length ?? 0) + CHARS_A_TOKEN * (maxTokens + SLACK_TOKENS);
  let said = "";
  let numChoices = 0;
  let numReasoning = 0;
  let refusal = "";
  const tokenIds: number[] = [];
  const logprobs: number[] = [];
  let promptIds: readonly number[] | null = null;
  let finish: string | null = null;
  let weightsVersion = -1;
  let usage: Usage | null = null;
  const reply = (text: string, how: Reply["finish"]): Reply => ({
    text,
    tokenIds: tokenIds.length > 0 ? tokenIds : null,
    logprobs: logprobs.length > 0 ? logprobs : null,
    promptIds,
    finish: how,
    weightsVersion,
    numReasoning,
    usage,
  });
  for await (const raw of events) {
    onEvent();
    const event = eventSchema.safeParse(raw);
    if (!event.success) throw new BrokenReply(`not an event of the protocol: ${short(raw)}`);
    const [choice] = event.data.choices;
    promptIds ??= event.data.prompt_token_ids ?? choice?.prompt_token_ids ?? null;
    weightsVersion = event.data.weights_version ?? weightsVersion;
    // Some tell it once, some after every piece: the last one is of the whole.
    const { usage: told } = event.data;
    if (told) usage = { prompt: told.prompt_tokens, generated: told.completion_tokens };
    if (choice === undefined) continue;
    numChoices++;
    said += choice.delta?.content ?? "";
    refusal += choice.delta?.refusal ?? "";
    numReasoning += (choice.delta?.reasoning_content ?? choice.delta?.reasoning ?? "").length;
    for (const id of choice.token_ids ?? []) tokenIds.push(id);
    const isTooLong =
      Math.max(said.length, refusal.length, numReasoning) > maxChars ||
      tokenIds.length > maxTokens + SLACK_TOKENS;
    if (isTooLong)
      throw new BrokenReply(`the reply is far longer than the ${maxTokens} tokens asked for`, true);
    for (const { logprob } of choice.logprobs?.content ?? []) logprobs.push(logprob);
    finish = choice.finish_reason ?? finish;
    if (stop.length === 0 || !choice.delta?.content) continue;
    const text = continuation(restated, said, finish !== null);
    const end = endOfStop(text, stop);
    if (end !== null) return reply(text.slice(0, end), "cut");
  }
  const text = continuation(restated, said === "" ? refusal : said, true);
  if (finish === "stop" || finish === "length") return reply(text, finish);
  if (numChoices === 0) throw new BrokenReply("the reply holds no choices", true);
  if (finish === null)
    throw new BrokenReply("the connection was cut before the answer was complete");
  throw new BrokenReply(`the answer ended with finish_reason ${JSON.stringify(finish)}`, true);
}

/** No tokenizer packs more characters into a token, on average over a reply. */
const CHARS_A_TOKEN = 64;
/** Servers count beginnings and ends of messages differently. */
const SLACK_TOKENS = 16;

/** Where the stop string that is complete first ends in `text`, or null. */
function endOfStop(text: string, stop: readonly string[]): number | null {
  const ends = stop.flatMap((one) => {
    const at = text.indexOf(one);
    return at < 0 ? [] : [at + one.length];
  });
  return ends.length === 0 ? null : Math.min(...ends);
}

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
