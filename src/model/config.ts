/**
 * The numbers of a vision-language model, whichever family it is of. What the families of one kind
 * differ in (norms, gates, biases, rotary layout, learned positions, experts) is said here too, so that
 * tower, language model, cache and decoder read one configuration and never ask for a family.
 * families/ reads `config.json` into it.
 */
import { z } from "zod";
import type { DType } from "../torch/tensor.ts";

export interface VisionConfig {
  readonly depth: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHeads: number;
  readonly inChannels: number;
  /** Pixels. */
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  /** Side, in patches, of the square that becomes one language position. */
  readonly spatialMergeSize: number;
  /** Side of an attention window in pixels; Infinity where every block attends to the whole image. */
  readonly windowSize: number;
  /** Width of the features handed to the language model; equals TextConfig.hiddenSize. */
  readonly outHiddenSize: number;
  /** Blocks that attend over the whole image instead of a window. */
  readonly fullAttentionBlocks: readonly number[];
  readonly ropeTheta: number;
  readonly patchBias: boolean;
  /** Side of the square table of learned positions; 0 where there are none. */
  readonly positionsSide: number;
  readonly norm: "rms" | "layer";
  readonly mlp: "swiglu" | "quickGelu" | "geluTanh";
  /**
   * Deepstack: blocks whose output is merged too; the k-th is added at the image positions after
   * language layer k.
   */
  readonly deepstackBlocks: readonly number[];
}

export interface TextConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** Rotary frequencies given to time, height and width; sums to rotaryDim / 2. */
  readonly mropeSection: readonly [number, number, number];
  /** Whether the axes take turns, frequency by frequency, or have a stretch each. */
  readonly mropeInterleaved: boolean;
  /** Whether the projections to q, k and v have biases. */
  readonly attentionBias: boolean;
  /** Whether each query and key head is normed before it is rotated. */
  readonly headNorms: boolean;
  /** How many numbers of a head rotate, the first of it; divides headDim. */
  readonly rotaryDim: number;
  /** Whether RMS norms scale by 1 + w instead of w; not those inside delta nets. */
  readonly centredNorms: boolean;
  /** Whether what attention gives is scaled by gates, which come out of the query projection. */
  readonly outputGates: boolean;
  /** Gated delta nets in place of attention in some layers. */
  readonly delta?: DeltaConfig;
  /** Rotary frequencies stretched to longer texts than the model was first trained on. */
  readonly yarn?: YarnConfig;
  /** A mixture in place of every MLP. */
  readonly experts?: ExpertsConfig;
}

export interface YarnConfig {
  readonly factor: number;
  readonly originalMaxPositions: number;
  /** What queries and keys grow by. */
  readonly attentionFactor: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Whether the ramp begins and ends at whole pairs. */
  readonly truncate: boolean;
}

export interface ExpertsConfig {
  readonly count: number;
  /** How many of them work on a position. */
  readonly active: number;
  readonly intermediateSize: number;
  /** Of an expert beside them that works on every position, by a gate of its own. */
  readonly sharedIntermediateSize?: number;
}

export interface DeltaConfig {
  /** By layer: whether it has a delta net. */
  readonly layers: readonly boolean[];
  readonly numKeyHeads: number;
  /** A multiple of numKeyHeads. */
  readonly numValueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Positions that the convolution before it looks at. */
  readonly kernel: number;
}

/** Whether a layer has a delta net in place of attention. */
export function isDelta({ delta }: TextConfig, layer: number): boolean {
  return delta?.layers[layer] === true;
}

/** Layers with attention: those that have keys and values. */
export function numAttentionLayers({ numLayers, delta }: TextConfig): number {
  return numLayers - numDeltaLayers({ delta });
}

export function numDeltaLayers({ delta }: Pick<TextConfig, "delta">): number {
  return delta?.layers.filter(Boolean).length ?? 0;
}

/** Queries, keys and values of a delta net's position: how many numbers the convolution runs over. */
export function convolvedWidth(delta: DeltaConfig): number {
  const { numKeyHeads, numValueHeads, keyDim, valueDim } = delta;
  return 2 * numKeyHeads * keyDim + numValueHeads * valueDim;
}

export interface ModelConfig {
  /** `model_type` of config.json: the name of the family. */
  readonly family: string;
  readonly text: TextConfig;
  readonly vision: VisionConfig;
  readonly tieWordEmbeddings: boolean;
  readonly imageTokenId: number;
  /** Standard deviation of freshly drawn weights. */
  readonly initializerRange: number;
  /** The dtype that the checkpoint says it is stored in. */
  readonly storedDtype: DType;
  /** config.json as read; what is saved starts from it, so that keys we do not use survive. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** Length of one flattened patch: channels × frames × height × width (1176 for patches of 14 pixels). */
export function patchDim(vision: VisionConfig): number {
  return vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2;
}

/** Number of patches that share one language position (4 as published). */
export function mergeUnit(vision: VisionConfig): number {
  return vision.spatialMergeSize ** 2;
}

/** The `config.json` to save: the one read, with the dtype of the weights as they are written. */
export function configToSave(config: ModelConfig, dtype: DType): Record<string, unknown> {
  const raw: Record<string, unknown> = { ...config.raw };
  if ("torch_dtype" in raw) raw.torch_dtype = dtype;
  else raw.dtype = dtype;
  for (const key of ["text_config", "vision_config"]) {
    if (raw[key] === undefined || raw[key] === null) continue;
    const part = { ...z.record(z.string(), z.unknown()).parse(raw[key]) };
    if ("dtype" in part) part.dtype = dtype;
    if ("torch_dtype" in part) part.torch_dtype = dtype;
    raw[key] = part;
  }
  return raw;
}
