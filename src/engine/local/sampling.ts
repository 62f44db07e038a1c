/**
 * What sampling needs of a model folder: decoder, features, end tokens, and how many workers and
 * threads it is spread over. Also opens the workers that only sample, on weights that another owns.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { errno, VigorlError } from "../../core/errors.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import { Decoder } from "../../model/decoder.ts";
import { familyOf } from "../../model/families/table.ts";
import { readPreprocessor, requireSamePatches } from "../../model/profile.ts";
import { VisionLanguageModel } from "../../model/vision-language-model.ts";
import { hasTokenizer, loadTokenizer, type Tokenizer } from "../../text/tokenizer.ts";
import { numThreads, setNumThreads } from "../../torch/device.ts";
import { hasKernelsFor } from "../../torch/kernels.ts";
import type { Tensor } from "../../torch/ops.ts";
import { takeTensor } from "../../torch/share.ts";
import { FeatureCache } from "./feature-cache.ts";
import type { LocalOptions, Share } from "./protocol.ts";
import type { SchedulerModel } from "./scheduler.ts";
import { tokenBytes } from "./stop.ts";

const DEFAULT_SLOTS = 64;
/** Of a sampler in one thread: few rows keep every core busy with few sequences. */
const DEFAULT_THREAD_SLOTS = 32;
const DEFAULT_MAX_POSITIONS = 4096;
const MAX_SAMPLERS = 8;
/** Largest hidden size whose operators are too small to be worth sharing among threads. */
const SMALL_HIDDEN_SIZE = 512;
export const DEFAULT_FEATURE_BYTES = 512 * 2 ** 20;
/** Bound on what slots beyond those at work may come to hold, where such cost nothing but memory. */
const SPARE_SLOT_BYTES = 256 * 2 ** 20;

export interface SamplingModel extends SchedulerModel {
  readonly model: VisionLanguageModel;
  readonly preprocessor: PreprocessorConfig;
  readonly maxPositions: number;
  readonly spread: Spread;
}

/** How a model's work is spread over threads. */
export interface Spread {
  /** Workers that sample. */
  readonly samplers: number;
  /** Threads inside an operator of sampling, and of everything else. */
  readonly samplingThreads: number;
  readonly threads: number;
}

/**
 * Decoder and company of a model whose tensors the caller owns.
 * @param weights of another decoder of the same model, to be shared with it
 * @throws VigorlError "usage" for options that do not fit the model
 */
export async function openSampling(
  folder: string,
  model: VisionLanguageModel,
  options: LocalOptions,
  weights?: Tensor,
): Promise<SamplingModel> {
  const preprocessor = await readPreprocessor(folder, familyOf(model.config.family, folder));
  requireSamePatches(preprocessor, model.config, folder);
  const tokenizer = await tokenizerOf(folder);
  const eosIds = await endTokens(folder, tokenizer);
  const limit = model.config.text.maxPositions;
  const maxPositions = options.maxPositions ?? Math.min(limit, DEFAULT_MAX_POSITIONS);
  if (maxPositions > limit)
    throw new VigorlError("usage", `maxPositions ${maxPositions} exceeds the model's ${limit}`);
  const spread = spreadOf(model, options);
  const numRows =
    options.numSlots ?? (samplesInOneThread(model) ? DEFAULT_THREAD_SLOTS : DEFAULT_SLOTS);
  const numSlots = numRows + spareSlots(model, numRows, maxPositions);
  return {
    model,
    preprocessor,
    maxPositions,
    spread,
    config: model.config,
    decoder: new Decoder(model, { numSlots, numRows, maxPositions, weights }),
    features: new FeatureCache(model, preprocessor, options.featureBytes ?? DEFAULT_FEATURE_BYTES),
    eosIds,
    tokenBytes: tokenizer === undefined ? undefined : tokenBytes(tokenizer),
  };
}

/** Decoder and company on the weights of another worker. */
export function openShared(
  folder: string,
  { threads, config, tensors, decoderWeights }: Share,
  options: LocalOptions,
): Promise<SamplingModel> {
  const params = new Map([...tensors].map(([name, number]) => [name, takeTensor(number)]));
  const model = new VisionLanguageModel(config, params, folder);
  return openSampling(folder, model, { ...options, threads }, takeTensor(decoderWeights));
}

let present: number | undefined;

/** Sets the threads of this worker's operators, where they are others now. */
export function useThreads(count: number): void {
  if (count === present) return;
  setNumThreads(count);
  present = count;
}

function spreadOf(model: VisionLanguageModel, options: LocalOptions): Spread {
  const threads = options.threads ?? numThreads();
  const single = samplesInOneThread(model);
  const samplers = options.samplers ?? (single ? Math.min(threads, MAX_SAMPLERS) : 1);
  if (samplers < 1) throw new VigorlError("usage", `samplers must be ≥ 1 (got ${samplers})`);
  const samplingThreads = single ? 1 : Math.max(1, Math.floor(threads / samplers));
  return { samplers, samplingThreads, threads };
}

function samplesInOneThread({ device, config }: VisionLanguageModel): boolean {
  return device === "cpu" && config.text.hiddenSize <= SMALL_HIDDEN_SIZE;
}

/** Slots that keep what finished requests leave while all rows are at work: as many again, or fewer. */
function spareSlots(
  { config, dtype, device }: VisionLanguageModel,
  numRows: number,
  length: number,
): number {
  if (!hasKernelsFor(dtype, device)) return 0;
  const { numLayers, numKeyValueHeads, headDim } = config.text;
  const slotBytes = 4 * numLayers * 2 * numKeyValueHeads * headDim * length;
  return Math.min(numRows, Math.floor(SPARE_SLOT_BYTES / slotBytes));
}

/** A folder may come without a tokenizer: then everything but stop strings works. */
async function tokenizerOf(folder: string): Promise<Tokenizer | undefined> {
  return hasTokenizer(folder) ? loadTokenizer(folder) : undefined;
}

const generationSchema = z.looseObject({
  eos_token_id: z.union([z.int(), z.array(z.int())]).optional(),
});

/** What ends a sample: the tokens of generation_config.json and the tokenizer's own. */
async function endTokens(folder: string, tokenizer?: Tokenizer): Promise<Set<number>> {
  const file = join(folder, "generation_config.json");
  const parsed = generationSchema.safeParse((await readJson(file)) ?? {});
  if (!parsed.success)
    throw new VigorlError("input", `${file}: eos_token_id must be an id or a list of ids`);
  const ids = new Set([parsed.data.eos_token_id ?? []].flat());
  if (tokenizer !== undefined) ids.add(tokenizer.eosId);
  return ids;
}

/** The parsed file, or undefined where there is none. */
async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (errno(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new VigorlError("input", `${file}: not JSON`, { cause });
  }
}
