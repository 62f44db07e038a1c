/**
 * What a local engine will hold, worked out from configuration and keys before anything is loaded: weights,
 * what the generator copies of them, keys and values, features of images; while learning also what is
 * trained with its gradients and moments, what layers keep for the backward pass of a micro-batch, a block
 * of logits, and a frozen copy for the reference. Left out: the process itself, workspaces of libraries,
 * and what a trained vision tower keeps, which depends on the pictures.
 */
import { chooseLayers } from "../../model/adapter.ts";
import {
  convolvedWidth,
  numDeltaLayers,
  type DeltaConfig,
  type ModelConfig,
  type TextConfig,
} from "../../model/config.ts";
import { CHUNK } from "../../model/delta-rule.ts";
import { modulePaths } from "../../model/families/family.ts";
import type { Take } from "../../model/layers.ts";
import { isVision, parameterShapes, structure } from "../../model/parameters.ts";
import { dtypeBytes, type Device, type DType } from "../../torch/dtype.ts";
import { hasHalfKernelsFor, hasKernelsFor } from "../../torch/kernels.ts";
import type { Learning } from "../kind.ts";
import { LOGITS_COPIES } from "./learner.ts";
import type { LocalSizes } from "./sizes.ts";

/** One thing that takes memory. */
export interface Share {
  readonly what: string;
  readonly bytes: number;
  /** What makes it less; empty where nothing does. */
  readonly keys: string;
}

/** What learning depends on besides the sizes. */
export interface LearningPlan extends Learning {
  readonly recompute: boolean;
  readonly logitsBytes: number;
}

/** What an engine holds besides keys and values depends on these of its sizes. */
export type Held = Pick<
  LocalSizes,
  | "device"
  | "dtype"
  | "weightsBytes"
  | "samplers"
  | "learns"
  | "tokensPerMicroBatch"
  | "featureBytes"
>;

/** Everything, the largest consequences of a recipe's keys first where they matter. */
export function estimate(config: ModelConfig, sizes: LocalSizes, plan?: LearningPlan): Share[] {
  const cache = {
    what: "keys and values, at most",
    bytes: sizes.cachePeakBytes,
    keys: "engine.memory.cacheGiB",
  };
  return [...heldShares(config, sizes, plan), cache].filter(({ bytes }) => bytes > 0);
}

/** Everything but keys and values. */
export function heldShares(config: ModelConfig, held: Held, plan?: LearningPlan): Share[] {
  const { dtype, device } = held;
  return [
    { what: "the process and its libraries", bytes: processBytes(device), keys: "" },
    { what: "weights", bytes: held.weightsBytes, keys: "engine.dtype" },
    { what: "the generator's copies", bytes: copiesBytes(config, held, plan), keys: "" },
    ...(plan === undefined ? [] : learningShares(config, dtype, device, held, plan)),
    {
      what: "features of images, at most",
      bytes: held.featureBytes * held.samplers,
      keys: "engine.memory.imagesGiB",
    },
  ];
}

/** What Node and libtorch take on a CPU before there is a model; `bench/memory.ts` measures it. */
const PROCESS_BYTES = 0.4 * 2 ** 30;

/** Of a GPU's memory the context takes none that is counted as free. */
function processBytes(device: Device): number {
  return device === "cpu" ? PROCESS_BYTES : 0;
}

function learningShares(
  config: ModelConfig,
  dtype: DType,
  device: Device,
  sizes: Held,
  plan: LearningPlan,
): Share[] {
  const { lora, moments = "float32", masters = "float32", stateOn = "device" } = plan;
  const count = numTrained(config, plan);
  const isHalf = lora === undefined && dtype !== "float32";
  const away = stateOn === "cpu" && device !== "cpu";
  const momentBytes = { float32: 8, bfloat16: 4, int8: 2 + 8 / 256 }[moments];
  const masterBytes = isHalf ? { float32: 4, kahan: 2, none: 0 }[masters] : 0;
  const positions = sizes.tokensPerMicroBatch;
  const perPosition = activationBytes(config.text, dtype, plan.recompute);
  const logits = LOGITS_COPIES * 4 * config.text.vocabSize * positions;
  const { text } = config;
  const layer = plan.recompute
    ? Math.max(layerBytes(text, dtype), text.delta ? layerBytes(text, dtype, text.delta) : 0)
    : 0;
  return [
    {
      what: lora === undefined ? "" : "the adapter",
      bytes: lora === undefined ? 0 : 4 * count,
      keys: "lora.rank",
    },
    {
      what: "gradients",
      // Sums in float32, and for a moment what a backward pass leaves in half precision.
      bytes: count * (isHalf ? 4 + (plan.recompute ? 0 : 2) : 4),
      keys: lora === undefined ? "a lora section" : "lora.rank",
    },
    {
      what: "moments and masters",
      bytes: away ? 0 : count * (momentBytes + masterBytes),
      keys: "moments: int8, masters: kahan, stateOn: cpu",
    },
    {
      what: "layers, for the backward pass",
      bytes: positions * (perPosition + layer),
      keys: "engine.gradientCheckpointing, engine.tokensPerMicroBatch",
    },
    { what: "logits", bytes: Math.min(plan.logitsBytes, logits), keys: "" },
    {
      what: "the reference",
      bytes: plan.reference && lora === undefined ? sizes.weightsBytes : 0,
      keys: "rl.klCoef: 0, or a lora section",
    },
  ];
}

/** Numbers that the optimizer changes. */
export function numTrained(config: ModelConfig, { trainable, lora }: Learning): number {
  const isTrained = (name: string): boolean => trainable === "all" || !isVision(name);
  let total = 0;
  if (lora === undefined) {
    for (const [name, shape] of parameterShapes(config))
      if (isTrained(name)) total += sizeOf(shape);
    return total;
  }
  const shapes = linearShapes(config);
  const paths = [...shapes.keys()]
    .filter(isTrained)
    .map((name) => [name, modulePaths(name)] as const);
  for (const module of chooseLayers(new Map(paths), lora)) {
    const [out, width] = shapes.get(module)!;
    total += lora.rank * (out + width);
  }
  return total;
}

/** What a position of a micro-batch keeps; of layers that run again, what goes from one to the next. */
export function activationBytes(text: TextConfig, dtype: DType, recompute: boolean): number {
  const { numLayers, hiddenSize } = text;
  if (recompute) return dtypeBytes[dtype] * numLayers * hiddenSize;
  const numDelta = numDeltaLayers(text);
  return (
    (numLayers - numDelta) * layerBytes(text, dtype) +
    (text.delta === undefined ? 0 : numDelta * layerBytes(text, dtype, text.delta))
  );
}

/** What a position keeps of one layer, with attention or with a delta net. */
function layerBytes(text: TextConfig, dtype: DType, delta?: DeltaConfig): number {
  const { hiddenSize, experts } = text;
  const shared = experts?.sharedIntermediateSize ?? 0;
  const inner =
    experts === undefined
      ? text.intermediateSize
      : experts.active * experts.intermediateSize + shared;
  const half = dtypeBytes[dtype];
  const around = half * (4 * hiddenSize + 3 * inner);
  // Norms with gains around zero keep their rows in float32, where the model is not.
  const norms = text.centredNorms && dtype !== "float32" ? 4 * 4 * hiddenSize : 0;
  const mixer = delta === undefined ? half * attentionNumbers(text) : deltaBytes(delta, half);
  return around + norms + mixer;
}

function attentionNumbers(text: TextConfig): number {
  const { numHeads, numKeyValueHeads, headDim } = text;
  const [queries, keys] = [numHeads * headDim, numKeyValueHeads * headDim];
  const normed = text.headNorms ? queries + keys : 0;
  return 2 * queries + 3 * keys + normed + (text.outputGates ? 3 * queries : 0);
}

/** The rule itself is in float32: vectors of keys and values, and what positions of a chunk have of each other. */
function deltaBytes(delta: DeltaConfig, half: number): number {
  const { numKeyHeads, numValueHeads, keyDim, valueDim } = delta;
  const [keys, values] = [numValueHeads * keyDim, numValueHeads * valueDim];
  const memories = (numValueHeads * keyDim * valueDim) / CHUNK;
  const rule = 2 * numKeyHeads * keyDim + 6 * keys + 7 * values + memories;
  return half * (5 * convolvedWidth(delta) + 2 * values) + 4 * (rule + 5 * CHUNK * numValueHeads);
}

/**
 * Packed weights, of which only the tied head is more than what they take the place of where nothing
 * learns; the adapter's, packed, beside weights that are read as they lie; else the projections to heads
 * in another order.
 */
function copiesBytes(
  config: ModelConfig,
  { dtype, device, learns, samplers }: Held,
  plan?: LearningPlan,
): number {
  const { text, tieWordEmbeddings } = config;
  const packed = hasKernelsFor(dtype, device);
  if (packed && !learns && samplers === 1)
    return tieWordEmbeddings ? text.vocabSize * text.hiddenSize * dtypeBytes[dtype] : 0;
  if (hasHalfKernelsFor(dtype, device) && text.delta === undefined)
    return plan?.lora === undefined ? 0 : dtypeBytes.float32 * numTrained(config, plan);
  const heads = new Set(["q_proj", "k_proj", "v_proj"]);
  for (const part of ["qkv", "z", "b", "a"]) heads.add(`in_proj_${part}`);
  let total = 0;
  for (const [name, [out, width]] of linearShapes(config))
    if (packed ? true : heads.has(name.split(".").at(-1)!)) total += out * width;
  if (packed) total += config.text.vocabSize * config.text.hiddenSize;
  return total * dtypeBytes[dtype];
}

/** Rows and columns of every layer that an adapter may change. */
function linearShapes(config: ModelConfig): Map<string, readonly [number, number]> {
  const found = new Map<string, readonly [number, number]>();
  const take: Take<readonly number[]> = (_, shape) => shape;
  take.linear = (module, { weight }) => void found.set(module, [weight[0], weight[1]]);
  structure(config, take);
  return found;
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
