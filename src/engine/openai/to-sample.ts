/**
 * A server's reply as a sample, and whether it can be taken for what was sampled. Ids count only if
 * they decode to the text that came with them (another tokenizer's would not), and only if the server
 * says that it read the ids of our prompt. Otherwise the sample is marked, and no trainer takes it.
 */
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { Chunk, Sample, SampleParams, SampleStop } from "../types.ts";
import type { Reply } from "./reply.ts";
import { promptIds } from "./request.ts";

export interface Asked {
  readonly prompt: readonly Chunk[];
  readonly params: SampleParams;
  /** Ends an assistant message. */
  readonly endOfTurnId: number;
}

export function toSample(reply: Reply, asked: Asked, tokenizer: Tokenizer): Sample {
  const { tokenIds, logprobs, weightsVersion } = reply;
  if (tokenIds === null || logprobs?.length !== tokenIds.length || !decodesTo(reply, tokenizer))
    return fromText(reply, asked, tokenizer);
  const isSame = readSamePrompt(reply.promptIds, asked.prompt, tokenizer);
  return {
    tokens: [...tokenIds],
    logprobs: [...logprobs],
    stopReason: stopReasonOf(reply, asked, tokenizer.isSpecial(tokenIds[tokenIds.length - 1])),
    weightsVersion,
    ...(isSame ? {} : { inexact: "prompt" }),
  };
}

function fromText(reply: Reply, asked: Asked, tokenizer: Tokenizer): Sample {
  const { text, weightsVersion } = reply;
  const stopReason = stopReasonOf(reply, asked, false);
  const end = stopReason === "eos" ? [asked.endOfTurnId] : [];
  return {
    tokens: [...tokenizer.encode(text), ...end],
    logprobs: [],
    stopReason,
    weightsVersion,
    inexact: "text",
  };
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

/** The text may end earlier than its ids: at the end of a stop string, inside the last token. */
function decodesTo({ tokenIds, text }: Reply, tokenizer: Tokenizer): boolean {
  if (tokenIds === null || !tokenIds.every((id) => tokenizer.hasId(id))) return false;
  const decoded = tokenizer.decode(tokenIds, { skipSpecial: true });
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
