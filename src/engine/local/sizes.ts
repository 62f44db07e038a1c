/**
 * How large a local engine is: what its options leave open, worked out from the model folder and the
 * machine. The cache is one block of slots × positions, so memory decides how many of both there are:
 * first as many slots as keep every core busy and still hold a screenshot and a conversation about it
 * each, then as many positions as memory has left. A cache of rows has its slots by need instead: the
 * fewer, the longer what is asked for.
 */
import { VigorlError } from "../../core/errors.ts";
import { numAttentionLayers, type ModelConfig } from "../../model/config.ts";
import { stateBytes } from "../../model/delta-states.ts";
import { familyOf } from "../../model/families/table.ts";
import { cacheDtypeFor, cacheFormFor, FIRST_ROWS } from "../../model/kv-cache.ts";
import { readModelConfig } from "../../model/folder.ts";
import { readPreprocessor, requireSamePatches } from "../../model/profile.ts";
import { cudaMemory, numThreads, resolveDevice } from "../../torch/device.ts";
import { dtypeBytes, type Device, type DType } from "../../torch/dtype.ts";
import { hasKernelsFor } from "../../torch/kernels.ts";
import { openSafetensors } from "../../torch/safetensors.ts";
import type { Learning } from "../kind.ts";
import { heldShares, type Held, type LearningPlan } from "./estimate.ts";
import type { LocalOptions } from "./protocol.ts";

export const GIB = 2 ** 30;
/** Of a block of logits. Wider ones keep a GPU busy, and add to the head's gradient less often. */
export const LOGITS_BYTES = { cpu: 2 ** 29, gpu: 2 ** 31 };
const DEFAULT_SLOTS = 64;
/** Of a sampler in one thread: few rows keep every core busy with few sequences. */
const DEFAULT_THREAD_SLOTS = 32;
const MAX_SAMPLERS = 8;
/** Largest hidden size whose operators are too small to be worth sharing among threads. */
export const SMALL_HIDDEN_SIZE = 512;
const DEFAULT_TOKENS_PER_MICRO_BATCH = 4096;
const DEFAULT_FEATURE_BYTES = GIB / 2;
/** A slot that holds a 4K screenshot (some 10,500 positions) and a conversation about it. */
const ROOMY_POSITIONS = 12_288;
/** Most slots of a cache of rows, its positions a slot at least, and what it takes while it grows. */
const MOST_ROW_SLOTS = 256;
const LEAST_ROW_POSITIONS = 512;
const ROW_GROWTH_PEAK = 2;
/** A cache that grows by a quarter stands beside the smaller one for a moment. */
const GROWTH_PEAK = 1.8;
/** States of delta nets: a slot's own, and one that is kept beside it. */
const STATES_A_SLOT = 2;
/** A search of 64 trees prefills 62,000 positions without any, 50,000 with one, 39,000 with three. */
const SPARE_SLOTS_A_SLOT = 3;
/** Bound on what slots beyond those at work may come to hold, where such cost nothing but memory. */
const SPARE_SLOT_BYTES = GIB / 4;

/** Options with nothing left open. */
export interface LocalSizes {
  readonly device: Device;
  readonly dtype: DType;
  readonly maxPositions: number;
  /** At work side by side in one sampler. */
  readonly numSlots: number;
  /** Slots that keep what finished requests leave while all others are at work. */
  readonly spareSlots: number;
  readonly samplers: number;
  /** Threads inside an operator of sampling, and of everything else. */
  readonly samplingThreads: number;
  readonly threads: number;
  readonly learns: boolean;
  readonly tokensPerMicroBatch: number;
  readonly featureBytes: number;
  /** What the weights take, once. */
  readonly weightsBytes: number;
  /** What keys and values of all slots of all samplers may grow to. */
  readonly cacheBytes: number;
  /** What they take before there are any, when all are at their longest, and while they grow to that. */
  readonly cacheStartBytes: number;
  readonly cacheFullBytes: number;
  readonly cachePeakBytes: number;
  /** Positions of all slots of a sampler together where these come by need; else none. */
  readonly maxCells: number | undefined;
}

/** What the sizes depend on besides the options. */
export interface Situation {
  readonly config: Pick<ModelConfig, "text" | "storedDtype">;
  /** Numbers in the weights. */
  readonly numParameters: number;
  readonly device: Device;
  readonly freeBytes: number;
  readonly threads: number;
  /** Whether the device keeps the cache as rows in this dtype. */
  readonly hasRows: (dtype: DType) => boolean;
  /** What keys and values are kept in for weights of this dtype. */
  readonly cacheDtype: (dtype: DType) => DType;
  /** Bytes of everything but keys and values. */
  readonly heldBytes: (held: Held) => number;
  /** For messages. */
  readonly folder: string;
}

/**
 * Looks at the folder's headers and at the machine.
 * @throws VigorlError "input" or "usage" where the model does not fit, or options contradict it
 */
export async function localSizes(folder: string, options: LocalOptions): Promise<LocalSizes> {
  const config = await readModelConfig(folder);
  const preprocessor = await readPreprocessor(folder, familyOf(config.family, folder));
  requireSamePatches(preprocessor, config, folder);
  const device = resolveDevice(options.device ?? "cpu");
  const stored = openSafetensors(folder);
  let numParameters = 0;
  try {
    for (const name of stored.names)
      numParameters += stored.info(name).shape.reduce((product, size) => product * size, 1);
  } finally {
    stored.close();
  }
  const freeBytes = freeMemory(device);
  const threads = numThreads();
  const formFor = (dtype: DType) => cacheFormFor(dtype, device, config.text);
  const hasRows = (dtype: DType) => formFor(dtype) === "rows";
  const cacheDtype = (dtype: DType) => cacheDtypeFor(formFor(dtype), dtype);
  const plan = learningPlan(options, device);
  const heldBytes = (held: Held) =>
    heldShares(config, held, plan).reduce((sum, { bytes }) => sum + bytes, 0);
  const machine = { device, freeBytes, threads, hasRows, cacheDtype, heldBytes };
  return sizesIn({ config, numParameters, folder, ...machine }, options);
}

/** What an engine will learn, where it learns: as it was said, or with everything at its default. */
export function learningPlan(
  {
    learns = true,
    learning,
    trainable = "all",
    lora,
    gradientCheckpointing: recompute = false,
    logitsBytes,
  }: LocalOptions,
  device: Device,
): LearningPlan | undefined {
  if (!learns) return undefined;
  const plain: Learning = { trainable, reference: false, ...(lora === undefined ? {} : { lora }) };
  return {
    ...(learning ?? plain),
    recompute,
    logitsBytes: logitsBytes ?? LOGITS_BYTES[device === "cpu" ? "cpu" : "gpu"],
  };
}

/** The sizes of an engine in a situation. @throws as `localSizes` */
export function sizesIn(situation: Situation, options: LocalOptions): LocalSizes {
  const { config, device, folder, freeBytes } = situation;
  const { text } = config;
  const { learns = true } = options;
  const dtype = options.dtype ?? autoDtype(situation, learns);
  const weightsBytes = situation.numParameters * dtypeBytes[dtype];
  checkWeights(situation, dtype, weightsBytes, options.maxWeightsBytes);
  const spread = spreadOf(situation, options);
  const { single, ...threading } = spread;

  const tokensPerMicroBatch = options.tokensPerMicroBatch ?? DEFAULT_TOKENS_PER_MICRO_BATCH;
  const featureBytes = options.featureBytes ?? DEFAULT_FEATURE_BYTES;
  const { samplers } = spread;
  const of = { dtype, device, weightsBytes, samplers };
  const held = situation.heldBytes({ ...of, tokensPerMicroBatch, featureBytes, learns });
  const beside = Math.max(freeBytes - held, freeBytes / 10);
  const cacheBytes = options.cacheBytes ?? beside / 2;
  const cacheDtype = situation.cacheDtype(dtype);
  const perSlotPosition =
    numAttentionLayers(text) * 2 * text.numKeyValueHeads * text.headDim * dtypeBytes[cacheDtype];
  const perPosition = perSlotPosition * spread.samplers;
  const slotStates = STATES_A_SLOT * stateBytes(text, dtypeBytes[dtype]);
  const byNeed = situation.hasRows(dtype);
  const peak = byNeed ? ROW_GROWTH_PEAK : GROWTH_PEAK;
  /** Positions that there is room for beside the states of so many slots. */
  const roomBeside = (slots: number): number =>
    Math.floor((cacheBytes - slots * slotStates * spread.samplers) / (perPosition * peak));

  const limit = text.maxPositions;
  if (options.maxPositions !== undefined && options.maxPositions > limit) {
    throw new VigorlError(
      "usage",
      `engine.maxPositions ${options.maxPositions}: ${folder} allows ${limit} positions`,
      { hint: "lower it, or set it to auto" },
    );
  }
  const wanted = options.maxPositions ?? Math.min(limit, ROOMY_POSITIONS);
  const most = byNeed ? MOST_ROW_SLOTS : single ? DEFAULT_THREAD_SLOTS : DEFAULT_SLOTS;
  const positionsASlot = byNeed ? LEAST_ROW_POSITIONS : wanted;
  const slotsOf = (positions: number): number => {
    const states = (slotStates * spread.samplers) / (perPosition * peak);
    return Math.floor(roomBeside(0) / (positions + states));
  };
  const numSlots = options.numSlots ?? clamp(slotsOf(positionsASlot), 1, most);
  const room = roomBeside(numSlots);
  const maxPositions =
    options.maxPositions ?? Math.min(limit, byNeed ? room : Math.floor(room / numSlots));
  const asked = byNeed ? maxPositions : numSlots * maxPositions;
  if (maxPositions < 1 || ((byNeed || options.cacheBytes !== undefined) && asked > room)) {
    const needs =
      Math.max(asked, byNeed ? 1 : numSlots) * perPosition * peak +
      numSlots * slotStates * spread.samplers;
    throw new VigorlError(
      "usage",
      `${folder}: ${byNeed ? 1 : numSlots} slots of ${Math.max(1, maxPositions)} positions need ${gib(needs)} GiB of cache, engine.memory.cacheGiB allows ${gib(cacheBytes)}`,
      { hint: "raise it, or lower engine.slots or engine.maxPositions" },
    );
  }
  const mostSpare = Math.min(
    SPARE_SLOTS_A_SLOT * numSlots,
    Math.floor(SPARE_SLOT_BYTES / (perSlotPosition * maxPositions + slotStates)),
  );
  const spareSlots = hasKernelsFor(dtype, device)
    ? clamp(slotsOf(maxPositions) - numSlots, 0, mostSpare)
    : 0;
  const numHeld = numSlots + spareSlots;
  // A position of each is spare.
  const mostCells = numHeld * (maxPositions + 1);
  const states = numHeld * slotStates * samplers;
  const full = (byNeed ? Math.min(room, mostCells) : mostCells) * perPosition;
  // On a CPU pages that nothing was written to take nothing.
  const firstCells = Math.min(room, numHeld * Math.min(FIRST_ROWS, maxPositions + 1));
  return {
    device,
    dtype,
    maxPositions,
    numSlots,
    spareSlots,
    ...threading,
    learns,
    tokensPerMicroBatch,
    featureBytes,
    weightsBytes,
    cacheBytes,
    cacheStartBytes: byNeed ? firstCells * perPosition + states : 0,
    cacheFullBytes: Math.min(cacheBytes, full + states),
    cachePeakBytes: Math.min(cacheBytes, full * peak + states),
    maxCells: byNeed ? room : undefined,
  };
}

/**
 * Small models gain nothing from halves, and lose digits. On a CPU, halves that are read as they lie are for
 * sampling alone.
 */
function autoDtype({ config, device }: Situation, learns: boolean): DType {
  const { storedDtype, text } = config;
  const isHalf = storedDtype === "bfloat16" || storedDtype === "float16";
  const asTheyLie = storedDtype === "bfloat16" && !learns && text.delta === undefined;
  return (device !== "cpu" || asTheyLie) && isHalf && text.hiddenSize > SMALL_HIDDEN_SIZE
    ? "bfloat16"
    : "float32";
}

function checkWeights(
  { folder, freeBytes, device }: Situation,
  dtype: DType,
  bytes: number,
  allowed: number | undefined,
): void {
  if (bytes <= (allowed ?? freeBytes)) return;
  const bound =
    allowed === undefined
      ? `${device} has ${gib(freeBytes)} free`
      : `engine.memory.weightsGiB allows ${gib(allowed)}`;
  throw new VigorlError(
    "usage",
    `${folder}: its weights take ${gib(bytes)} GiB in ${dtype}; ${bound}`,
    {
      hint: "set engine.dtype to bfloat16, take a smaller model, or run it behind a server (engine.kind openai)",
    },
  );
}

function spreadOf(
  { device, config, threads: all }: Situation,
  options: LocalOptions,
): Pick<LocalSizes, "samplers" | "samplingThreads" | "threads"> & { readonly single: boolean } {
  const threads = options.threads ?? all;
  const single = device === "cpu" && config.text.hiddenSize <= SMALL_HIDDEN_SIZE;
  const samplers = options.samplers ?? (single ? Math.min(threads, MAX_SAMPLERS) : 1);
  if (samplers < 1) throw new VigorlError("usage", `engine.samplers must be ≥ 1 (got ${samplers})`);
  const samplingThreads = single ? 1 : Math.max(1, Math.floor(threads / samplers));
  return { samplers, samplingThreads, threads, single };
}

/** Bytes that a device has free: within the process's own limit, where it has one. */
export function freeMemory(device: Device): number {
  if (device === "cpu") return process.availableMemory();
  const index = Number(/\d+$/.exec(device)?.[0] ?? 0);
  return cudaMemory(index)?.freeBytes ?? process.availableMemory();
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

function gib(bytes: number): string {
  return (bytes / GIB).toPrecision(3);
}
