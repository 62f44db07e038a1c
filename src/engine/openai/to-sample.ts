/**
 * A server's reply as a sample, and whether it can be taken for what was sampled. Ids count only if
 * they decode to the text that came with them (another tokenizer's would not), and only if the server
 * says that it read the ids of our prompt. Otherwise the sample is marked, and no trainer takes it.
 */
import type { Tokenizer } from "../../text/tokenizer.ts";
import { ReplyFault } from "../reply-fault.ts";
import type { Chunk, Sample, SampleParams, SampleStop } from "../types.ts";
import type { Reply } from "./reply.ts";
import { promptIds } from "./request.ts";

export interface Asked {
  readonly prompt: readonly Chunk[];
  readonly params: SampleParams;
  /** Ends an assistant message. */
  readonly endOfTurnId: number;
  /** The prompt ends inside an assistant message that has begun: nothing may be left to say. */
  readonly isOpen: boolean;
  readonly url: string;
}

/** @throws ReplyFault for a reply that says nothing, and does not say by its ids that it ended at once */
export function toSample(reply: Reply, asked: Asked, tokenizer: Tokenizer): Sample {
  const { tokenIds, logprobs, weightsVersion } = reply;
  if (tokenIds === null || logprobs?.length !== tokenIds.length || !decodesTo(reply, tokenizer))
    return fromText(reply, asked, tokenizer);
  const isSame = readSamePrompt(reply.promptIds, asked.prompt, tokenizer);
  return {
    tokens: [...tokenIds],
    logprobs: [...logprobs],
    stopReason: stopReasonOf(reply, asked, endsSpecial(tokenIds, tokenizer)),
    weightsVersion,
    ...(isSame ? {} : { inexact: "prompt" }),
    ...usageOf(reply),
  };
}

function fromText(reply: Reply, asked: Asked, tokenizer: Tokenizer): Sample {
  const { text, weightsVersion, numReasoning } = reply;
  if (text === "" && (numReasoning > 0 || !asked.isOpen)) throw emptyReply(numReasoning, asked);
  const stopReason = stopReasonOf(reply, asked, false);
  const end = stopReason === "eos" ? [asked.endOfTurnId] : [];
  return {
    tokens: [...tokenizer.encode(text), ...end],
    logprobs: [],
    stopReason,
    weightsVersion,
    inexact: "text",
    ...usageOf(reply),
  };
}

function usageOf({ usage }: Reply): Pick<Sample, "usage"> {
  return usage === null ? {} : { usage };
}

function endsSpecial(tokenIds: readonly number[], tokenizer: Tokenizer): boolean {
  const last = tokenIds[tokenIds.length - 1];
  return tokenizer.hasId(last) && tokenizer.isSpecial(last);
}

function emptyReply(numReasoning: number, { url, params }: Asked): ReplyFault {
  const wrote = `; the model wrote ${numReasoning} characters of reasoning and no answer within ${params.maxTokens} tokens`;
  return new ReplyFault(`${url}: the reply is empty${numReasoning > 0 ? wrote : ""}`, {
    hint:
      numReasoning > 0
        ? "switch the model's thinking off on the server, or allow more tokens a reply"
        : "ask the server by hand what it answers; its chat template or stop strings may be wrong",
  });
}

function stopReasonOf(
  { finish, text }: Reply,
  { params }: Asked,
  endsSpecial: boolean,
): SampleStop {
  if (finish === "length") return "length";
  if (finish === "cut") return "stop";
  return !endsSpecial && params.stop.some((stop) => text.includes(stop)) ? "stop" : "eos";
}

/**
 * The text may end earlier than its ids: at the end of a stop string, inside the last token. Ids without
 * a token (rows that pad a vocabulary) say nothing; who asked will see them.
 */
function decodesTo({ tokenIds, text }: Reply, tokenizer: Tokenizer): boolean {
  if (tokenIds === null) return false;
  const known = tokenIds.filter((id) => tokenizer.hasId(id));
  const decoded = tokenizer.decode(known, { skipSpecial: true });
  const whole = text.replace(/\uFFFD+$/, "");
  return whole === "" ? decoded === text : decoded.startsWith(whole);
}

/** Servers tell the prompt with its image placeholders expanded, or one an image. */
function readSamePrompt(
  read: readonly number[] | null,
  prompt: readonly Chunk[],
  tokenizer: Tokenizer,
): boolean {
  if (read === null) return false;
  return (["all", "one"] as const).some((placeholders) => {
    const ours = promptIds(prompt, tokenizer, placeholders);
    return ours.length === read.length && ours.every((id, i) => id === read[i]);
  });
}
