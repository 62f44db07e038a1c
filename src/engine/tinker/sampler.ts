/** Samples of a sampling session: exact tokens and their log-probabilities, prompts with images. */
import { samplingOnly, type Capability } from "../capabilities.ts";
import { ReplyFault } from "../reply-fault.ts";
import { VigorlError } from "../../core/errors.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { Chunk, Sample, SampleParams, SampleStop } from "../types.ts";
import { scoredMask, toJsonChunks, toLogprobs, toWireChunks } from "./data.ts";
import type { Session } from "./session.ts";
import { decodeSample, type SampleResult } from "./wire.ts";

/** What the protocol has. Whether a server reads images is found out when it is opened. */
export const tinkerCapabilities: Readonly<Record<Capability, boolean>> = {
  ...samplingOnly,
  learn: true,
  tokenExact: true,
  promptLogprobs: true,
  reference: true,
  blind: true,
};

export interface SamplingSettings {
  readonly session: Session;
  readonly tokenizer: Tokenizer;
  readonly endOfTurnId: number;
}

/** Numbers that say which call of a session is the same one, sent again. */
const seqIds = new WeakMap<Session, number>();

/** Draws one sample. @throws ReplyFault for a reply that cannot become one */
export async function drawSample(
  { session, tokenizer, endOfTurnId }: SamplingSettings,
  sampler: string,
  prompt: readonly Chunk[],
  params: SampleParams,
  weightsVersion: number,
  signal?: AbortSignal,
): Promise<Sample> {
  const { maxTokens, temperature, topP, topK, stop, seed } = params;
  const endOfTurn = tokenizer.decode([endOfTurnId]);
  const { sequences } = await ask(
    session,
    sampler,
    prompt,
    {
      max_tokens: maxTokens,
      temperature,
      top_p: topP,
      // The protocol's word for "off" is −1.
      top_k: topK === 0 ? -1 : topK,
      seed: seed % 2 ** 31,
      // With strings of one's own, a model's own end need not be one any more.
      stop: [...new Set([...stop, endOfTurn])],
    },
    false,
    signal,
  );
  const [sequence] = sequences;
  if (sequence === undefined) throw new ReplyFault("the server sent a reply without a sample");
  const { tokens, logprobs, stopped } = sequence;
  if (tokens.length === 0) throw new ReplyFault("the server's sample has no tokens");
  if (tokens.length > maxTokens)
    throw new ReplyFault(
      `the server's sample has ${tokens.length} tokens, not ${maxTokens} at most`,
    );
  if (logprobs?.length !== tokens.length)
    throw new ReplyFault(
      `the server sent ${logprobs?.length ?? "no"} log-probabilities for ${tokens.length} tokens`,
    );
  return { tokens, logprobs, stopReason: stopReasonOf(), weightsVersion };

  function stopReasonOf(): SampleStop {
    if (!stopped) return "length";
    if (tokens.at(-1) === endOfTurnId) return "eos";
    const known = tokens.filter((id) => tokenizer.hasId(id));
    const text = tokenizer.decode(known, { skipSpecial: true });
    return stop.some((one) => text.includes(one)) ? "stop" : "eos";
  }
}

/** Log-probabilities of the text of a prompt, over T. */
export async function promptLogprobs(
  session: Session,
  sampler: string,
  prompt: readonly Chunk[],
  mask_T: Uint8Array,
): Promise<Float32Array> {
  const { promptLogprobs: wire } = await ask(
    session,
    sampler,
    prompt,
    { max_tokens: 1, temperature: 1, seed: 0 },
    true,
  );
  if (wire !== null) return toLogprobs(wire, mask_T, "prompt_logprobs");
  throw new VigorlError("io", "the server sent no log-probabilities of the prompt");
}

async function ask(
  session: Session,
  sampler: string,
  prompt: readonly Chunk[],
  sampling: Readonly<Record<string, unknown>>,
  readsPrompt: boolean,
  signal?: AbortSignal,
): Promise<SampleResult> {
  const chunks = toJsonChunks(await toWireChunks(prompt));
  const seqId = seqIds.get(session) ?? 0;
  seqIds.set(session, seqId + 1);
  const body = {
    num_samples: 1,
    prompt: { chunks },
    sampling_params: sampling,
    sampling_session_id: sampler,
    seq_id: seqId,
    prompt_logprobs: readsPrompt,
    type: "sample",
  };
  const headers = { "X-Tinker-Sampling-Backpressure": "1" };
  const reply = await session.connection.call("asample", body, "Sample", { signal, headers });
  if (reply.type === "protobuf") return decodeSample(reply.bytes);
  throw new VigorlError("usage", "asample: the result came as JSON", {
    hint: "the server speaks an older wire of the protocol; one of SDK 0.25 or later is needed",
  });
}

/** Whether a server reads the pixels of an image: another one has to change what follows it. */
export async function readsImages(
  chunksWith: (blank: boolean) => readonly Chunk[],
  logprobsOf: (chunks: readonly Chunk[], mask_T: Uint8Array) => Promise<Float32Array>,
): Promise<boolean> {
  try {
    const [seen, blank] = await Promise.all(
      [false, true].map((isBlank) => {
        const chunks = chunksWith(isBlank);
        return logprobsOf(chunks, scoredMask(chunks, [], "all"));
      }),
    );
    return seen.some((value, t) => Math.abs(value - blank[t]) > MIN_DIFFERENCE);
  } catch (error) {
    // Images that are refused or dropped: the capability is missing, and is named as such.
    const isRefusal = error instanceof VigorlError && ["input", "numerics"].includes(error.code);
    if (isRefusal) return false;
    throw error;
  }
}

/** Log-probabilities move by more than rounding where pixels are looked at. */
const MIN_DIFFERENCE = 1e-6;
