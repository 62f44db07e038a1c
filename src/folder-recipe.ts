/**
 * What a published model folder itself says of how it wants to be asked, for those who name no recipe:
 * the sampling of its `generation_config.json`, and of a released ViGoRL model the settings that its
 * authors show it with. What is there and cannot be honoured is named.
 */
import { join } from "node:path";
import { z } from "zod";
import { readModelJson, readModelText } from "./core/json-file.ts";
import { parseAt } from "./core/jsonl.ts";

export interface FolderRecipe {
  /** Keys of a recipe. */
  readonly recipe: Readonly<Record<string, unknown>>;
  /** What comes from the folder, and what in it is passed over, a line each. */
  readonly notes: readonly string[];
}

/** @param written keys of `eval` that somebody has written, which go before the folder's */
export async function folderRecipe(
  folder: string,
  written: readonly string[] = [],
): Promise<FolderRecipe> {
  if (await isReleasedViGoRL(folder)) return { recipe: vigorl, notes: [VIGORL_NOTE] };
  const { sampling, passedOver } = await publishedSampling(folder);
  const taken = Object.entries(sampling).filter(([key]) => !written.includes(key));
  const notes = [
    ...(taken.length === 0
      ? []
      : [
          `sampling of generation_config.json: ${taken.map(([key, one]) => `${key} ${one}`).join(", ")}`,
        ]),
    ...(passedOver.length === 0
      ? []
      : [`generation_config.json: not honoured here: ${passedOver.join(", ")}`]),
  ];
  return { recipe: taken.length === 0 ? {} : { eval: Object.fromEntries(taken) }, notes };
}

/**
 * As its authors show it (demonstration of the repository): the system message is that of its own chat
 * template, so that none is sent; at most 512 tokens a turn.
 */
const vigorl = {
  profile: "repo-multi",
  prompts: { system: null },
  image: { minPixels: 3136, maxPixels: 12_960_000 },
  episode: { maxTokensPerTurn: 512 },
  eval: { temperature: 0.5, topP: 1 },
};
const VIGORL_NOTE =
  "a released ViGoRL model: asked with its chat template's own system message, profile repo-multi, temperature 0.5";

/** Its chat template brings the system message that it was trained with, which tells of its tool. */
async function isReleasedViGoRL(folder: string): Promise<boolean> {
  for (const name of ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"]) {
    const text = await readModelText(join(folder, name));
    if (
      text !== undefined &&
      ["search_coordinate", "<answer>"].every((word) => text.includes(word))
    )
      return true;
  }
  return false;
}

const number = z.number().nullish();
const generationSchema = z.looseObject({
  do_sample: z.boolean().nullish(),
  temperature: number,
  top_p: number,
  top_k: number,
});

/** How a model is sampled by those who published it, and what of that nothing here does. */
export interface Published {
  readonly sampling: {
    readonly temperature?: number;
    readonly topP?: number;
    readonly topK?: number;
  };
  readonly passedOver: readonly string[];
}

/** @throws VigorlError "input" for a `generation_config.json` that cannot be read */
export async function publishedSampling(folder: string): Promise<Published> {
  const file = join(folder, "generation_config.json");
  const json = await readModelJson(file);
  if (json === undefined) return { sampling: {}, passedOver: [] };
  const {
    do_sample: samples,
    temperature,
    top_p: topP,
    top_k: topK,
    ...others
  } = parseAt(file, json, generationSchema);
  const passedOver = Object.entries(others)
    .filter(([key, value]) => !isIdle(key, value))
    .map(([key, value]) => `${key} ${JSON.stringify(value)}`);
  if (samples !== true)
    return { sampling: samples === false ? { temperature: 0 } : {}, passedOver };
  const said = { temperature: temperature ?? 1, topP: topP ?? 1, topK: topK ?? 0 };
  return { sampling: said, passedOver };
}

/** Keys that say nothing of sampling, or are read elsewhere. */
const OTHER_KEYS =
  /^(?:_from_model_config|transformers_version|trust_remote_code|use_cache|(?:bos|eos|pad|decoder_start)_token_id|max_new_tokens|max_length)$/;
/** Values that switch a key off. */
const OFF: Readonly<Record<string, unknown>> = {
  repetition_penalty: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
  min_p: 0,
  typical_p: 1,
  epsilon_cutoff: 0,
  eta_cutoff: 0,
  num_beams: 1,
  num_return_sequences: 1,
  no_repeat_ngram_size: 0,
  length_penalty: 1,
};

function isIdle(key: string, value: unknown): boolean {
  return value === null || value === false || OTHER_KEYS.test(key) || OFF[key] === value;
}
