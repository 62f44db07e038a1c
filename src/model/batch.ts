/**
 * Sequences of text and images laid flat, one after another, without padding. All linear work runs on
 * the flat rows; only attention sees sequences (attention.ts pads inside). An image that occurs several
 * times, as in a group of samples of one prompt, is encoded once.
 * Legend: N flat positions of the whole batch, S sequences.
 */
import { VigorlError } from "../core/errors.ts";
import type { ModelConfig } from "./config.ts";
import { mropePositions, numImageTokens, type Grid, type MropePositions } from "./rope.ts";

/** What the model must know of an image besides its patches. */
export interface ImageRef {
  /** Content hash: images of one hash and grid share their features. */
  readonly hash: string;
  readonly grid: Grid;
  readonly numTokens: number;
}

export type InputChunk<I extends ImageRef = ImageRef> =
  | { readonly type: "text"; readonly tokens: readonly number[] }
  | { readonly type: "image"; readonly image: I };

export interface Batch<I extends ImageRef = ImageRef> {
  /** Positions of each sequence, S. */
  readonly lengths: number[];
  /** First flat row of each sequence, S. */
  readonly offsets: number[];
  /** Token ids, N; the image placeholder where an image stands. */
  readonly tokens: Int32Array;
  /** M-RoPE ids: time, height, width, N each. */
  readonly axes: MropePositions["axes"];
  /** Position that the next text token of each sequence would take, S. */
  readonly next: number[];
  /** Distinct images in order of first use. */
  readonly images: I[];
  /** Flat rows where image features stand, and the feature row of each. */
  readonly imageRows: Int32Array;
  readonly featureRows: Int32Array;
}

/**
 * Lays sequences out flat.
 * @param starts position each sequence continues at (the `next` of what came before it); 0 where absent
 * @throws VigorlError "numerics" for no or empty sequences and for token ids outside the vocabulary;
 *   "input" where an image's token count does not follow from its grid
 */
export function planBatch<I extends ImageRef>(
  sequences: readonly (readonly InputChunk<I>[])[],
  config: ModelConfig,
  starts?: readonly number[],
): Batch<I> {
  if (sequences.length === 0) throw new VigorlError("numerics", "empty batch");
  const lengths = sequences.map(numPositions);
  const offsets: number[] = [];
  let total = 0;
  for (const [s, length] of lengths.entries()) {
    if (length === 0) throw new VigorlError("numerics", `sequence ${s} of the batch is empty`);
    offsets.push(total);
    total += length;
  }
  const tokens = new Int32Array(total);
  const axes: MropePositions["axes"] = [
    new Int32Array(total),
    new Int32Array(total),
    new Int32Array(total),
  ];
  const next: number[] = [];
  const images: I[] = [];
  const firstFeature = new Map<string, number>();
  const imageRows: number[] = [];
  const featureRows: number[] = [];
  let numFeatures = 0;
  for (const [s, sequence] of sequences.entries()) {
    const positions = sequencePositions(sequence, config, starts?.[s] ?? 0);
    for (let axis = 0; axis < 3; axis++) axes[axis].set(positions.axes[axis], offsets[s]);
    next.push(positions.next);
    let at = offsets[s];
    for (const chunk of sequence) {
      if (chunk.type === "text") {
        checkTokens(chunk.tokens, config.text.vocabSize);
        tokens.set(chunk.tokens, at);
        at += chunk.tokens.length;
        continue;
      }
      const { image } = chunk;
      const key = `${image.hash} ${image.grid.t} ${image.grid.h} ${image.grid.w}`;
      let feature = firstFeature.get(key);
      if (feature === undefined) {
        feature = numFeatures;
        firstFeature.set(key, feature);
        images.push(image);
        numFeatures += image.numTokens;
      }
      tokens.fill(config.imageTokenId, at, at + image.numTokens);
      for (let i = 0; i < image.numTokens; i++) {
        imageRows.push(at++);
        featureRows.push(feature + i);
      }
    }
  }
  return {
    lengths,
    offsets,
    tokens,
    axes,
    next,
    images,
    imageRows: Int32Array.from(imageRows),
    featureRows: Int32Array.from(featureRows),
  };
}

/** M-RoPE ids of one sequence, starting at `start` (the `next` of what came before it). */
export function sequencePositions(
  sequence: readonly InputChunk[],
  config: ModelConfig,
  start = 0,
): MropePositions {
  const merge = config.vision.spatialMergeSize;
  const spans = sequence.map((chunk) => {
    if (chunk.type === "text") return { type: "text" as const, length: chunk.tokens.length };
    const { grid, numTokens, hash } = chunk.image;
    if (grid.h % merge !== 0 || grid.w % merge !== 0 || numTokens !== numImageTokens(grid, merge)) {
      throw new VigorlError(
        "input",
        `image ${hash}: ${numTokens} tokens for a grid of ${grid.t}×${grid.h}×${grid.w} patches`,
        { hint: `make it with the model's own preprocessor settings (merge size ${merge})` },
      );
    }
    return { type: "image" as const, grid };
  });
  return mropePositions(spans, merge, start);
}

/** Positions that a sequence expands to. */
export function numPositions(sequence: readonly InputChunk[]): number {
  let total = 0;
  for (const chunk of sequence)
    total += chunk.type === "text" ? chunk.tokens.length : chunk.image.numTokens;
  return total;
}

/** Flat row of position `t` of sequence `s`. */
export function flatRow(batch: Batch, s: number, t: number): number {
  return batch.offsets[s] + t;
}

function checkTokens(tokens: readonly number[], vocabSize: number): void {
  for (const token of tokens) {
    if (!(token >= 0 && token < vocabSize)) {
      throw new VigorlError(
        "numerics",
        `token id ${token} outside the vocabulary of ${vocabSize}`,
        {
          hint: "tokenizer and model folder do not belong together",
        },
      );
    }
  }
}
