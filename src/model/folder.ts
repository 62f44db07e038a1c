/**
 * Model folders in Hugging Face layout: `config.json`, safetensors (one file or shards with an index)
 * and the tokenizer, preprocessor and chat template beside them. What is saved here opens in
 * transformers, vLLM and SGLang as it is, and theirs opens here.
 */
import { copyFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { replaceFolderAtomic } from "../core/files.ts";
import { readModelJson } from "../core/json-file.ts";
import { openSafetensors, type Safetensors } from "../torch/safetensors.ts";
import { writeSafetensorsFolder } from "../torch/safetensors-write.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import type { Device, DType } from "../torch/tensor.ts";
import { configToSave, type ModelConfig } from "./config.ts";
import { familyOf, parseModelConfig } from "./families/table.ts";
import { canonicalName, parameterShapes, type Parameters } from "./parameters.ts";
import { checkParameters, VisionLanguageModel } from "./vision-language-model.ts";

export interface LoadOptions {
  /** Dtype to compute in, whatever the files hold. Default float32. */
  readonly dtype?: DType;
  /** Default "cpu". */
  readonly device?: Device;
}

export interface SaveOptions {
  /** Dtype of the files. Default: that of the model. */
  readonly dtype?: DType;
  /** Folder to copy tokenizer, preprocessor and chat template from. Default: where it was loaded. */
  readonly filesFrom?: string;
  /** Writes what else belongs into the folder before it is put in place. */
  readonly extra?: (folder: string) => Promise<void>;
}

/** Files that travel with a model unchanged, as far as they are there. */
const companionFiles = new Set([
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "chat_template.json",
  "preprocessor_config.json",
  "video_preprocessor_config.json",
  "processor_config.json",
  "generation_config.json",
  "vigorl.json",
  "LICENSE",
]);

/** Reads and checks `config.json` of a model folder. Throws VigorlError "input". */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const file = join(folder, "config.json");
  const json = await readModelJson(file);
  if (json === undefined) {
    throw new VigorlError("input", `${file}: not found`, {
      hint: "give the folder of a model in Hugging Face layout",
    });
  }
  return parseModelConfig(json, file);
}

/**
 * Opens a model folder. Weights may come under published names or transformers' module paths.
 * @throws VigorlError "input" where files are missing or damaged, or weights and config disagree
 */
export async function loadModelFolder(
  folder: string,
  options: LoadOptions = {},
): Promise<VisionLanguageModel> {
  const { dtype = "float32", device = "cpu" } = options;
  const config = await readModelConfig(folder);
  const stored = openSafetensors(folder);
  const params: Parameters = new Map();
  try {
    const found = findParameters(stored, config, folder);
    // Before anything is read: what does not belong to the model may be of any size.
    checkParameters(config, found, folder);
    for (const [canonical, { read }] of found)
      params.set(
        canonical,
        scope(() => read((name) => stored.read(name, { dtype, device }))),
      );
    return new VisionLanguageModel(config, params, folder);
  } catch (error) {
    for (const parameter of params.values()) parameter.dispose();
    throw error;
  } finally {
    stored.close();
  }
}

/** A parameter that files hold, in one way or another. */
interface Found {
  readonly shape: readonly number[];
  readonly read: (one: (name: string) => Tensor) => Tensor;
}

/** The parameters in a folder's files by canonical name; those of other parts are passed over. */
function findParameters(
  stored: Safetensors,
  config: ModelConfig,
  folder: string,
): Map<string, Found> {
  const { liesTransposed, passesOver } = familyOf(config.family, folder);
  const shapes = parameterShapes(config);
  const found = new Map<string, Found>();
  const names = new Map(stored.names.map((name) => [canonicalName(name), name]));
  for (const [canonical, name] of names) {
    // A tied head is the word embeddings again; some files repeat it.
    if (canonical === "lm_head.weight" && config.tieWordEmbeddings) continue;
    if (canonical.endsWith("rotary_emb.inv_freq") || passesOver?.(canonical) === true) continue;
    const { shape } = stored.info(name);
    const isTurned =
      liesTransposed?.(canonical) === true &&
      shape.length === 3 &&
      shapes.get(canonical)?.join() !== shape.join();
    found.set(
      canonical,
      isTurned
        ? {
            shape: [shape[0], shape[2], shape[1]],
            read: (one) => one(name).transpose(1, 2).contiguous(),
          }
        : { shape, read: (one) => one(name) },
    );
  }
  return withWholeExperts(found, shapes, (canonical) => stored.info(names.get(canonical)!).shape);
}

/** One matrix an expert, as some files have them, put together to one tensor a layer. */
function withWholeExperts(
  found: Map<string, Found>,
  shapes: ReadonlyMap<string, readonly number[]>,
  shapeOf: (canonical: string) => readonly number[],
): Map<string, Found> {
  for (const [whole, [count]] of shapes) {
    const [, prefix, kind] = /^(.*\.experts\.)(gate_up|down)_proj$/.exec(whole) ?? [];
    if (prefix === undefined || found.has(whole)) continue;
    const parts = kind === "gate_up" ? ["gate", "up"] : ["down"];
    const names = Array.from({ length: count }, (_, expert) =>
      parts.map((part) => `${prefix}${expert}.${part}_proj.weight`),
    );
    if (!names.flat().every((name) => found.has(name))) continue;
    const own = names.flat().map((name) => [name, found.get(name)!] as const);
    const [rows, columns] = shapeOf(own[0][0]);
    const odd = own.find(([name]) => shapeOf(name).join() !== `${rows},${columns}`);
    for (const [name] of own) found.delete(name);
    found.set(whole, {
      shape: odd === undefined ? [count, parts.length * rows, columns] : shapeOf(odd[0]),
      read: (one) =>
        cat(
          own.map(([, { read }]) => read(one)),
          0,
        ).view([count, -1, columns]),
    });
  }
  return found;
}

/**
 * Writes a model folder, in one step: beside its place, then renamed over what stood there.
 * @throws VigorlError "io"
 */
export async function saveModelFolder(
  model: VisionLanguageModel,
  folder: string,
  options: SaveOptions = {},
): Promise<void> {
  const { dtype = model.dtype, filesFrom = model.folder, extra } = options;
  await replaceFolderAtomic(folder, async (beside) => {
    if (filesFrom !== undefined) await copyCompanions(filesFrom, beside);
    const json = JSON.stringify(configToSave(model.config, dtype), null, 2);
    await writeFile(join(beside, "config.json"), json + "\n");
    writeWeights(model, beside, dtype);
    await extra?.(beside);
  });
}

function writeWeights(model: VisionLanguageModel, folder: string, dtype: DType): void {
  scope(() => {
    const tensors: Parameters = new Map();
    const { publishedName, liesTransposed } = familyOf(model.config.family, folder);
    for (const [name, parameter] of model.params) {
      const stored = parameter.dtype === dtype ? parameter : parameter.detach().to(dtype);
      const [, rows, columns] = parameter.shape;
      // Square ones cannot be told apart, and are read as they lie here.
      const turned = liesTransposed?.(name) === true && rows !== columns;
      const lying = turned ? stored.detach().transpose(1, 2).contiguous() : stored;
      tensors.set(publishedName(name), lying);
    }
    writeSafetensorsFolder(folder, tensors, { metadata: { format: "pt" } });
  });
}

async function copyCompanions(from: string, to: string): Promise<void> {
  for (const name of await readdir(from)) {
    if (companionFiles.has(name)) await copyFile(join(from, name), join(to, name));
  }
}
