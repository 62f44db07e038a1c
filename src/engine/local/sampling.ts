/**
 * What sampling needs of a model folder: decoder, features and end tokens. Also opens the workers that
 * only sample, on weights that another owns.
 */
import { join } from "node:path";
import { z } from "zod";
import { errno, VigorlError } from "../../core/errors.ts";
import { readText } from "../../core/regular-file.ts";
import type { PreprocessorConfig } from "../../image/preprocessor-config.ts";
import { Decoder } from "../../model/decoder.ts";
import { Adapter, type LayerRank } from "../../model/adapter.ts";
import { getParameter, type Parameters } from "../../model/parameters.ts";
import { familyOf } from "../../model/families/table.ts";
import { readPreprocessor, requireSamePatches } from "../../model/profile.ts";
import { VisionLanguageModel } from "../../model/vision-language-model.ts";
import { hasTokenizer, loadTokenizer, type Tokenizer } from "../../text/tokenizer.ts";
import { setNumThreads } from "../../torch/device.ts";
import type { Tensor } from "../../torch/ops.ts";
import { takeTensor } from "../../torch/share.ts";
import { FeatureCache } from "./feature-cache.ts";
import type { Share, WorkerOptions } from "./protocol.ts";
import type { SchedulerModel } from "./scheduler.ts";
import { tokenBytes } from "./stop.ts";

export interface SamplingModel extends SchedulerModel {
  readonly model: VisionLanguageModel;
  readonly preprocessor: PreprocessorConfig;
  readonly maxPositions: number;
  readonly samplingThreads: number;
  readonly threads: number;
}

/**
 * Decoder and company of a model whose tensors the caller owns.
 * @param weights of another decoder of the same model, to be shared with it
 * @throws VigorlError "input" for files that are damaged
 */
export async function openSampling(
  folder: string,
  model: VisionLanguageModel,
  options: WorkerOptions,
  weights?: Tensor,
): Promise<SamplingModel> {
  const preprocessor = await readPreprocessor(folder, familyOf(model.config.family, folder));
  requireSamePatches(preprocessor, model.config, folder);
  const tokenizer = await tokenizerOf(folder);
  const eosIds = await endTokens(folder, tokenizer);
  const { maxPositions, numSlots: numRows, spareSlots, maxCells } = options;
  const { samplingThreads, threads } = options;
  const numSlots = numRows + spareSlots;
  const replaces = options.learns === false && options.samplers === 1;
  return {
    model,
    preprocessor,
    maxPositions,
    samplingThreads,
    threads,
    config: model.config,
    decoder: new Decoder(model, { numSlots, numRows, maxPositions, maxCells, weights, replaces }),
    features: new FeatureCache(model, preprocessor, options.featureBytes, replaces),
    eosIds,
    tokenBytes: tokenizer === undefined ? undefined : tokenBytes(tokenizer),
  };
}

/** Decoder and company on the weights of another worker. */
export function openShared(
  folder: string,
  { config, tensors, decoderWeights, adapter }: Share,
  options: WorkerOptions,
): Promise<SamplingModel> {
  const params = new Map([...tensors].map(([name, number]) => [name, takeTensor(number)]));
  const model = new VisionLanguageModel(config, params, folder, true);
  if (adapter !== null) {
    const taken = new Map([...adapter.tensors].map(([name, number]) => [name, takeTensor(number)]));
    attach(model, adapter.ranks, taken);
  }
  return openSampling(folder, model, options, takeTensor(decoderWeights));
}

/** Puts an adapter of these tensors, by parameter name, into a model. */
function attach(
  model: VisionLanguageModel,
  ranks: ReadonlyMap<string, LayerRank>,
  tensors: Parameters,
): void {
  const factors = new Map(
    [...ranks.keys()].map((module) => [
      module,
      {
        a: getParameter(tensors, `${module}.lora_A.weight`),
        b: getParameter(tensors, `${module}.lora_B.weight`),
      },
    ]),
  );
  model.adapter = new Adapter(model, ranks, factors);
}

let present: number | undefined;

/** Sets the threads of this worker's operators, where they are others now. */
export function useThreads(count: number): void {
  if (count === present) return;
  setNumThreads(count);
  present = count;
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
    text = await readText(file);
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
