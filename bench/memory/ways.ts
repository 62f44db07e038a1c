/** The models and the kinds of work of `bench -- memory`. */
import type { Learning } from "../../src/engine/kind.ts";
import { modelJson } from "../gpu/sizes.ts";

export type SizeName = keyof typeof sizes;
export type WayName = keyof typeof ways;

/** `config.json` of models of 106 and 409 million numbers. */
export const sizes = {
  small: modelJson(
    { hidden: 640, intermediate: 1792, layers: 12, heads: 10, keyHeads: 2, vocab: 32_768 },
    { depth: 8, hidden: 512, intermediate: 1408, heads: 8, full: [3, 7] },
    [8, 12, 12],
  ),
  medium: modelJson(
    { hidden: 1024, intermediate: 4096, layers: 16, heads: 16, keyHeads: 4, vocab: 65_536 },
    { depth: 12, hidden: 768, intermediate: 2048, heads: 12, full: [3, 7, 11] },
    [8, 12, 12],
  ),
};

/** Sequences of this length fill slots and micro-batches. */
export const numPositions = 256;
export const numSlots = 4;
export const perMicroBatch = 2;

export interface Way {
  /** What is done, for people. */
  readonly title: string;
  readonly dtype: "float32" | "bfloat16";
  readonly gradientCheckpointing?: boolean;
  /** Null: it samples alone. */
  readonly learning: Learning | null;
  /** Side of the picture in each sequence: where the tower is trained, one that nearly fills it. */
  readonly picturePx: number;
}

const small = 112;
const large = 420;
const lora = { rank: 16, alpha: 32, targets: "all-linear", rslora: false, dropout: 0 } as const;
const sft: Learning = { trainable: "language", reference: false, samples: false };
const tower: Learning = { ...sft, trainable: "all" };
const grpo: Learning = { ...sft, reference: true, samples: true };

export const ways = {
  sampling: { title: "sampling", dtype: "float32", learning: null, picturePx: small },
  "sampling-half": {
    title: "sampling in bfloat16",
    dtype: "bfloat16",
    learning: null,
    picturePx: small,
  },
  sft: { title: "SFT", dtype: "float32", learning: sft, picturePx: small },
  "sft-checkpointing": {
    title: "SFT with `gradientCheckpointing`",
    dtype: "float32",
    gradientCheckpointing: true,
    learning: sft,
    picturePx: small,
  },
  "sft-tower": {
    title: "SFT, the tower too",
    dtype: "float32",
    learning: tower,
    picturePx: large,
  },
  "sft-tower-checkpointing": {
    title: "SFT, the tower too, with `gradientCheckpointing`",
    dtype: "float32",
    gradientCheckpointing: true,
    learning: tower,
    picturePx: large,
  },
  "sft-int8": {
    title: "SFT with `moments: int8`",
    dtype: "float32",
    learning: { ...sft, moments: "int8" },
    picturePx: small,
  },
  "sft-half": { title: "SFT in bfloat16", dtype: "bfloat16", learning: sft, picturePx: small },
  "sft-lora": {
    title: "SFT with LoRA, rank 16",
    dtype: "float32",
    learning: { ...sft, lora },
    picturePx: small,
  },
  grpo: { title: "GRPO with a reference", dtype: "float32", learning: grpo, picturePx: small },
  "grpo-lora": {
    title: "GRPO with LoRA and a reference",
    dtype: "float32",
    learning: { ...grpo, lora },
    picturePx: small,
  },
} as const satisfies Record<string, Way>;
