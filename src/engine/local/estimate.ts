/**
 * What a local engine will hold, worked out from configuration and keys before anything is loaded: weights,
 * what the generator copies of them, keys and values, features of images; while learning also what is
 * trained with its gradients and moments, what layers keep for the backward pass of a micro-batch, a block
 * of logits, and a frozen copy for the reference. What depends on the data is counted at its bound: every
 * slot at its longest, every micro-batch full, and full of pictures where the vision tower is trained.
 * `npm run bench -- memory` holds it against what a process really held. Left out: workspaces of libraries,
 * and what an allocator keeps between tensors of some MB.
 */
import { chooseLayers } from "../../model/adapter.ts";
import {
  convolvedWidth,
  mergeUnit,
  numDeltaLayers,
  patchDim,
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
import { MAX_ELEMENTS } from "../../torch/optim.ts";
import type { Learning } from "../kind.ts";
import type { LoraConfig } from "../lora.ts";
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
  const held = heldShares(config, sizes, plan);
  // A cache grows while nothing is learned, in the memory that learning gives back.
  const passing = held.reduce((sum, { passes, bytes }) => sum + (passes ? bytes : 0), 0);
  const { cacheStartBytes, cacheFullBytes, cachePeakBytes } = sizes;
  const cache = {
    what: plan?.samples === false ? "keys and values, of none" : "keys and values, at most",
    bytes:
      plan?.samples === false
        ? cacheStartBytes
        : Math.max(cacheFullBytes, cachePeakBytes - passing),
    keys: "engine.memory.cacheGiB",
    passes: false,
  };
  return [...held, cache].filter(({ bytes }) => bytes > 0).map(({ passes: _, ...share }) => share);
}

/** A share that is given back behind each step of learning, or is held all the time. */
interface PassingShare extends Share {
  readonly passes: boolean;
}

/** Everything but keys and values. */
export function heldShares(config: ModelConfig, held: Held, plan?: LearningPlan): PassingShare[] {
  const { device } = held;
  // A reference with a tower of its own has features of its own.
  const owners = held.samplers + (hasOwnTower(plan) ? 1 : 0);
  return [
    { what: "the process and its libraries", bytes: processBytes(device), keys: "", passes: false },
    { what: "weights", bytes: held.weightsBytes, keys: "engine.dtype", passes: false },
    {
      what: "the generator's copies",
      bytes: copiesBytes(config, held, plan),
      keys: "",
      passes: false,
    },
    ...(plan === undefined ? [] : learningShares(config, held, plan)),
    {
      what: "features of images, at most",
      bytes: held.featureBytes * owners,
      keys: "engine.memory.imagesGiB",
      passes: false,
    },
  ];
}

/** Whether the reference is another model, whose tower is not the policy's. */
function hasOwnTower(plan: LearningPlan | undefined): boolean {
  return plan?.reference === true && plan.lora === undefined && plan.trainable === "all";
}

/** What Node and libtorch take on a CPU before there is a model. */
const PROCESS_BYTES = 0.3 * 2 ** 30;

/** Of a GPU's memory the context takes none that is counted as free. */
function processBytes(device: Device): number {
  return device === "cpu" ? PROCESS_BYTES : 0;
}

function learningShares(config: ModelConfig, held: Held, plan: LearningPlan): PassingShare[] {
  const { lora, moments = "float32", masters = "float32", stateOn = "device" } = plan;
  const { device, dtype } = held;
  const count = numTrained(config, plan);
  const isHalf = lora === undefined && dtype !== "float32";
  const away = stateOn === "cpu" && device !== "cpu";
  const momentBytes = { float32: 8, bfloat16: 4, int8: 2 + 8 / 256 }[moments];
  const masterBytes = isHalf ? { float32: 4, kahan: 2, none: 0 }[masters] : 0;
  const positions = held.tokensPerMicroBatch;
  const { text } = config;
  const largest = largestLayer(text, dtype);
  const kept = activationBytes(text, dtype, plan.recompute) + (plan.recompute ? largest : 0);
  // The gradients of what a layer kept, and the matrices that share an input, joined.
  const work = positions * largest + joinedBytes(config, dtype);
  // What a backward pass leaves in half precision before it is summed comes as the layers go.
  const unsummed = isHalf && !plan.recompute ? dtypeBytes[dtype] * count : 0;
  const layerKeys = `${plan.recompute ? "" : "engine.gradientCheckpointing, "}engine.tokensPerMicroBatch`;
  return [
    {
      what: lora === undefined ? "" : "the adapter",
      bytes: lora === undefined ? 0 : 4 * count,
      keys: "lora.rank",
      passes: false,
    },
    {
      what: "gradients",
      bytes: 4 * count,
      keys: lora === undefined ? "a lora section" : "lora.rank",
      passes: false,
    },
    {
      what: "moments and masters",
      bytes: away ? 0 : count * (momentBytes + masterBytes),
      keys: [
        "moments: int8",
        ...(isHalf ? ["masters: kahan"] : []),
        ...(device === "cpu" ? [] : ["stateOn: cpu"]),
      ].join(", "),
      passes: false,
    },
    {
      what: "a step of the optimizer",
      // Both moments of a piece as numbers, and one of them on its way back to codes.
      bytes: moments === "int8" ? 6 * 4 * Math.min(count, MAX_ELEMENTS) : 0,
      keys: "",
      passes: true,
    },
    {
      what: "layers, for the backward pass",
      bytes: Math.max(positions * kept + work, unsummed),
      keys: layerKeys,
      passes: true,
    },
    {
      what: "blocks of the vision tower, for the backward pass, at most",
      bytes: learnsToSee(config, plan) ? towerBytes(config, held, plan) : 0,
      keys: `trainable: language, ${layerKeys}`,
      passes: true,
    },
    { what: "logits", bytes: logitsBytes(config, held, plan), keys: "", passes: true },
    {
      what: "the reference",
      bytes: plan.reference && lora === undefined ? held.weightsBytes : 0,
      keys: "rl.klCoef: 0, or a lora section",
      passes: false,
    },
  ];
}

/** A block of logits with its copies; behind it the head's gradient, where the head is trained. */
function logitsBytes(config: ModelConfig, held: Held, plan: LearningPlan): number {
  const { vocabSize, hiddenSize } = config.text;
  const row = 4 * vocabSize;
  const bound = Math.max(1, Math.floor(plan.logitsBytes / (LOGITS_COPIES * row)));
  const rows = Math.min(bound, held.tokensPerMicroBatch);
  const block = LOGITS_COPIES * row * rows;
  if (plan.lora !== undefined) return block;
  const half = dtypeBytes[held.dtype];
  const gradient = vocabSize * hiddenSize * half;
  const summed = held.dtype === "float32" ? 0 : row * hiddenSize;
  return Math.max(block, rows * vocabSize * half + gradient, gradient + summed);
}

/** Whether gradients go through the vision tower. */
function learnsToSee(config: ModelConfig, plan: LearningPlan): boolean {
  if (plan.lora === undefined) return plan.trainable === "all";
  return trainedLayers(config, plan.lora, plan.trainable).some((module) => isVision(module));
}

/** What the tower keeps of a micro-batch in which every position is a picture's. */
function towerBytes(config: ModelConfig, held: Held, { recompute }: LearningPlan): number {
  const { vision } = config;
  const { depth, hiddenSize: width, intermediateSize, mlp } = vision;
  const unit = mergeUnit(vision);
  const patches = unit * held.tokensPerMicroBatch;
  // Two norms' inputs and outputs, queries, keys, values and what attention gives; around the activation.
  const block = 9 * width + (mlp === "geluTanh" ? 2 : 3) * intermediateSize;
  // A merger's normed rows, and around its activation.
  const mergers = vision.deepstackBlocks.length + 1;
  const merger = width + 3 * width;
  const numbers = (recompute ? depth * width + block : depth * block) + mergers * merger;
  const half = dtypeBytes[held.dtype];
  // Pixels come in float32.
  const pixels = patchDim(vision) * (held.dtype === "float32" ? 4 : 4 + half);
  return patches * (half * numbers + pixels);
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
  for (const module of trainedLayers(config, lora, trainable)) {
    const [out, width] = shapes.get(module)!;
    total += lora.rank * (out + width);
  }
  return total;
}

/** The layers that an adapter changes. */
function trainedLayers(
  config: ModelConfig,
  lora: LoraConfig,
  trainable: Learning["trainable"],
): string[] {
  const paths = [...linearShapes(config).keys()]
    .filter((name) => trainable === "all" || !isVision(name))
    .map((name) => [name, modulePaths(name)] as const);
  return chooseLayers(new Map(paths), lora);
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

/** Of the kind of layer that keeps most. */
function largestLayer(text: TextConfig, dtype: DType): number {
  const { delta } = text;
  return Math.max(
    layerBytes(text, dtype),
    delta === undefined ? 0 : layerBytes(text, dtype, delta),
  );
}

/** The larger of the two products of a layer whose matrices are joined: of heads, and of gates and ups. */
function joinedBytes({ text }: ModelConfig, dtype: DType): number {
  const { hiddenSize, numHeads, numKeyValueHeads, headDim, intermediateSize, experts } = text;
  const heads = (numHeads + 2 * numKeyValueHeads) * headDim;
  const inner = experts === undefined ? intermediateSize : (experts.sharedIntermediateSize ?? 0);
  return dtypeBytes[dtype] * hiddenSize * Math.max(heads, 2 * inner);
}

/** What a position keeps of one layer, with attention or with a delta net. */
function layerBytes(text: TextConfig, dtype: DType, delta?: DeltaConfig): number {
  const { hiddenSize, experts } = text;
  const shared = experts?.sharedIntermediateSize ?? 0;
  const inner =
    experts === undefined
      ? text.intermediateSize
      : experts.active * experts.intermediateSize + shared;
  // Rows as each expert gets them, and as it gives them back.
  const sorted = experts === undefined ? 0 : 2 * experts.active * hiddenSize;
  const half = dtypeBytes[dtype];
  const around = half * (4 * hiddenSize + 3 * inner + sorted);
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
  const head = text.vocabSize * text.hiddenSize;
  if (hasKernelsFor(dtype, device)) {
    if (!learns && samplers === 1) return tieWordEmbeddings ? head * dtypeBytes[dtype] : 0;
    // Of the tower each sampler has its own, and a reference with another tower.
    const towers = samplers + (hasOwnTower(plan) ? 1 : 0);
    let total = tieWordEmbeddings ? head : 0;
    for (const [name, shape] of parameterShapes(config))
      if (isPacked(name, shape)) total += (isVision(name) ? towers : 1) * sizeOf(shape);
    return total * dtypeBytes[dtype];
  }
  if (hasHalfKernelsFor(dtype, device) && text.delta === undefined)
    return plan?.lora === undefined ? 0 : dtypeBytes.float32 * numTrained(config, plan);
  const heads = new Set(["q_proj", "k_proj", "v_proj"]);
  for (const part of ["qkv", "z", "b", "a"]) heads.add(`in_proj_${part}`);
  let total = 0;
  for (const [name, [out, width]] of linearShapes(config))
    if (heads.has(name.split(".").at(-1)!)) total += out * width;
  return total * dtypeBytes[dtype];
}

/** Whether a parameter is a matrix that rows are multiplied with: experts and routers too, tables not. */
function isPacked(name: string, shape: readonly number[]): boolean {
  const isTable = name === "model.embed_tokens.weight" || name === "visual.pos_embed.weight";
  return shape.length > 1 && !isTable && !name.endsWith(".conv1d.weight");
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
