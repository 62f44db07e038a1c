/**
 * Hashes of images where their pixels are used, each worked out once from the bytes: what the parity
 * gate compares between the worker that sampled and the one that learns.
 */
import { imageHash, type ModelImage } from "../../image/model-image.ts";
import type { Chunk } from "../types.ts";

const known = new WeakMap<ModelImage, string>();

/** One for each image of `chunks`, in order. */
export function pixelHashes(chunks: readonly Chunk[]): string[] {
  return chunks.flatMap((chunk) => {
    if (chunk.type === "text") return [];
    const hash = known.get(chunk.image) ?? imageHash(chunk.image);
    known.set(chunk.image, hash);
    return [hash];
  });
}
