/**
 * Our data in the order of the wire. There, position i of the input predicts target i: the input is
 * the sequence without its last token, the targets are the sequence without its first. An image is
 * one chunk that counts as many positions as it has tokens; its targets are 0, with weight 0.
 *
 * Axes: T positions of a sequence, N = T − 1 of its input.
 */
import { VigorlError } from "../../core/errors.ts";
import { pngOf } from "../remote/png.ts";
import { numPositions, type Chunk } from "../types.ts";
import type { WireChunk, WireDatum, PassResult } from "./wire.ts";

/** A sequence with its weights over T as a datum of the wire. */
export async function toWireDatum(
  chunks: readonly Chunk[],
  weights_T: ArrayLike<number>,
): Promise<WireDatum> {
  const total = numPositions(chunks);
  const last = chunks.at(-1);
  const isWhole = last?.type === "text" && last.tokens.length > 0;
  const before = isWhole ? last.tokens.slice(0, -1) : [];
  const input = [...chunks.slice(0, -1), { type: "text" as const, tokens: before }];
  const wire = await toWireChunks(input);
  if (!isWhole || wire.at(-1)?.type !== "text") {
    throw new VigorlError("input", "a sequence to be read ends with an image", {
      hint: "the protocol has no place for it; end the sequence with text",
    });
  }
  const targets = new Int32Array(total - 1);
  const weights = new Float32Array(total - 1);
  let t = 0;
  for (const chunk of chunks) {
    if (chunk.type === "text")
      for (const [i, token] of chunk.tokens.entries()) {
        if (t + i === 0) continue;
        targets[t + i - 1] = token;
        weights[t + i - 1] = weights_T[t + i];
      }
    t += chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
  }
  return { chunks: wire, targets, weights };
}

/** Chunks of a prompt: neighbouring text joined, empty text left out, images as PNG. */
export async function toWireChunks(chunks: readonly Chunk[]): Promise<WireChunk[]> {
  const wire: WireChunk[] = [];
  for (const chunk of chunks) {
    const last = wire.at(-1);
    if (chunk.type === "image")
      wire.push({ type: "image", png: await pngOf(chunk.image), numTokens: chunk.image.numTokens });
    else if (last?.type === "text")
      wire[wire.length - 1] = { type: "text", tokens: [...last.tokens, ...chunk.tokens] };
    else if (chunk.tokens.length > 0) wire.push(chunk);
  }
  return wire;
}

/** The chunks as JSON calls want them. */
export function toJsonChunks(chunks: readonly WireChunk[]): unknown[] {
  return chunks.map((chunk) =>
    chunk.type === "text"
      ? { type: "encoded_text", tokens: chunk.tokens }
      : {
          type: "image",
          data: Buffer.from(chunk.png).toString("base64"),
          format: "png",
          expected_tokens: chunk.numTokens,
        },
  );
}

/** Positions that a pass or a prompt scores, over T: those with a weight, or all text but the first. */
export function scoredMask(
  chunks: readonly Chunk[],
  weights_T: ArrayLike<number>,
  positions: "weighted" | "all",
): Uint8Array {
  const mask_T = new Uint8Array(numPositions(chunks));
  let t = 0;
  for (const chunk of chunks) {
    const count = chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
    if (chunk.type === "text") mask_T.fill(1, t, t + count);
    t += count;
  }
  mask_T[0] = 0;
  if (positions === "weighted")
    for (let i = 0; i < mask_T.length; i++) if (weights_T[i] === 0) mask_T[i] = 0;
  return mask_T;
}

/**
 * Log-probabilities of the wire, over N, as ours over T, 0 where the mask is 0. Those of a prompt may
 * hold an entry for its first position.
 * @throws VigorlError("numerics") where there are too few (images that were dropped), or one is not finite
 */
export function toLogprobs(
  wire: ArrayLike<number>,
  mask_T: Uint8Array,
  what: string,
): Float32Array {
  const total = mask_T.length;
  const offset = total - wire.length;
  if (offset !== 0 && offset !== 1) {
    throw new VigorlError(
      "numerics",
      `${what}: the server speaks of ${wire.length} positions where there are ${total - 1}`,
      { hint: "it drops images, or resizes them: its processor has to be that of engine.folder" },
    );
  }
  const logprobs_T = new Float32Array(total);
  for (let t = 1; t < total; t++) {
    if (mask_T[t] === 0) continue;
    const value = wire[t - offset];
    if (!Number.isFinite(value))
      throw new VigorlError(
        "numerics",
        `${what}: the server's log-probability of position ${t} is ${value}`,
      );
    logprobs_T[t] = value;
  }
  return logprobs_T;
}

/** Bytes of a datum on the wire, as servers count them. */
export function bytesOfDatum({ chunks, targets, weights }: WireDatum): number {
  const inChunks = chunks.map((chunk) =>
    chunk.type === "text" ? 4 * chunk.tokens.length : chunk.png.length,
  );
  return inChunks.reduce((sum, bytes) => sum + bytes, 8 * targets.length + 4 * weights.length);
}

/** Data cut into requests of a bounded size, in their order. */
export function cut(
  data: readonly WireDatum[],
  limits: { readonly maxData: number; readonly maxBytes: number },
): WireDatum[][] {
  const parts: WireDatum[][] = [];
  let bytes = 0;
  for (const datum of data) {
    const size = bytesOfDatum(datum);
    const last = parts.at(-1);
    if (last === undefined || last.length === limits.maxData || bytes + size > limits.maxBytes) {
      parts.push([datum]);
      bytes = size;
    } else {
      last.push(datum);
      bytes += size;
    }
  }
  return parts;
}

/** Σ of what the protocol's cross_entropy adds up: −weight · log-probability. */
export function crossEntropySum(data: readonly WireDatum[], { logprobs_N }: PassResult): number {
  return data.reduce(
    (sum, { weights }, n) =>
      weights.reduce(
        (inner, weight, i) => (weight === 0 ? inner : inner - weight * logprobs_N[n][i]),
        sum,
      ),
    0,
  );
}
