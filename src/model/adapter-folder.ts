/**
 * Adapters in peft's layout: `adapter_config.json` and `adapter_model.safetensors`. What is saved here
 * opens in peft and in vLLM, and theirs opens here, under the module paths of transformers today and
 * those from before its version 4.52.
 */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { VigorlError } from "../core/errors.ts";
import { replaceFolderAtomic } from "../core/files.ts";
import { openSafetensors } from "../torch/safetensors.ts";
import { writeSafetensors } from "../torch/safetensors-write.ts";
import type { Tensor } from "../torch/ops.ts";
import { scope } from "../torch/scope.ts";
import { Adapter, chooseLayers, layerShape, type Factors, type LayerRank } from "./adapter.ts";
import {
  adapterConfigFile,
  rankOf,
  readAdapterConfig,
  type AdapterConfig,
} from "./adapter-config.ts";
import { modulePaths } from "./families/family.ts";
import { canonicalName, type Parameters } from "./parameters.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";

const weightsFile = "adapter_model.safetensors";

/** Module paths of transformers by canonical ones, of the layers of a model that may have an adapter. */
export function layerPaths(
  model: VisionLanguageModel,
  allowed: (module: string) => boolean = () => true,
): Map<string, string> {
  const modules = [...model.linears.keys()].filter(allowed);
  return new Map(modules.map((module) => [module, modulePaths(module)]));
}

/**
 * Reads the adapter of a folder into a model.
 * @throws VigorlError "input" where it does not fit the model, or holds what is not implemented
 */
export async function loadAdapter(model: VisionLanguageModel, folder: string): Promise<Adapter> {
  const config = readAdapterConfig(folder);
  const { ranks, factors } = readFactors(model, folder, config);
  return new Adapter(model, ranks, factors);
}

/**
 * Overwrites an adapter's factors in place with those of a folder.
 * @throws VigorlError "input" where it has other layers, ranks or scales
 */
export async function copyAdapter(
  model: VisionLanguageModel,
  adapter: Adapter,
  folder: string,
): Promise<void> {
  const config = readAdapterConfig(folder);
  scope(() => {
    const { ranks, factors } = readFactors(model, folder, config);
    requireSameLayers(adapter.ranks, ranks, folder);
    for (const [module, { a, b }] of factors) {
      adapter.params.get(`${module}.lora_A.weight`)!.detach().copy_(a);
      adapter.params.get(`${module}.lora_B.weight`)!.detach().copy_(b);
    }
  });
}

/** @throws VigorlError "input" where two adapters differ in layers, ranks or scales */
export function requireSameLayers(
  wanted: ReadonlyMap<string, LayerRank>,
  found: ReadonlyMap<string, LayerRank>,
  folder: string,
): void {
  const hint = "give lora the rank, alpha, rslora and targets that this adapter was trained with";
  for (const module of new Set([...wanted.keys(), ...found.keys()])) {
    const [ours, theirs] = [wanted.get(module), found.get(module)];
    if (ours?.rank === theirs?.rank && ours?.scale === theirs?.scale) continue;
    const say = (one?: LayerRank) =>
      one === undefined ? "no adapter" : `rank ${one.rank}, scale ${one.scale}`;
    throw new VigorlError(
      "input",
      `${folder}: ${module} has ${say(theirs)}; lora says ${say(ours)}`,
      { hint },
    );
  }
}

interface Read {
  readonly ranks: Map<string, LayerRank>;
  readonly factors: Map<string, Factors>;
}

function readFactors(model: VisionLanguageModel, folder: string, config: AdapterConfig): Read {
  const file = join(folder, weightsFile);
  if (!existsSync(file))
    throw new VigorlError("input", `${file}: not found`, {
      hint: existsSync(join(folder, "adapter_model.bin"))
        ? "adapter_model.bin is a pickle; save the adapter as safetensors with peft"
        : "the folder is incomplete",
    });
  const stored = openSafetensors(file);
  const made: Tensor[] = [];
  try {
    const parts = new Map<string, { a?: string; b?: string }>();
    for (const name of stored.names) {
      const { module, part } = takeApart(name, file);
      if (!model.linears.has(module))
        throw new VigorlError(
          "input",
          `${file}: ${name}: the model has no linear layer ${module}`,
          {
            hint: "the adapter belongs to another model, or to parts that cannot have one here (experts, embeddings, head)",
          },
        );
      const own = parts.get(module) ?? {};
      own[part] = name;
      parts.set(module, own);
    }
    if (parts.size === 0) throw new VigorlError("input", `${file}: holds no adapter`);
    const read: Read = { ranks: new Map(), factors: new Map() };
    for (const [module, { a, b }] of parts) {
      if (a === undefined || b === undefined)
        throw new VigorlError("input", `${file}: ${module} has only one of lora_A and lora_B`);
      const layer = rankOf(config, modulePaths(module));
      const [out, width] = layerShape(model, module);
      requireShape(file, a, stored.info(a).shape, [layer.rank, width]);
      requireShape(file, b, stored.info(b).shape, [out, layer.rank]);
      const take = (name: string): Tensor => {
        const tensor = stored.read(name, { dtype: "float32", device: model.device });
        made.push(tensor);
        return tensor;
      };
      read.ranks.set(module, layer);
      read.factors.set(module, { a: take(a), b: take(b) });
    }
    return read;
  } catch (error) {
    for (const tensor of made) tensor.dispose();
    throw error;
  } finally {
    stored.close();
  }
}

/** `base_model.model.<module>.lora_A[.default].weight`. */
function takeApart(name: string, file: string): { module: string; part: "a" | "b" } {
  const match = /^(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight$/.exec(name);
  if (match === null)
    throw new VigorlError("input", `${file}: ${name}: is not part of a plain LoRA`, {
      hint: "merge the adapter into its model with peft, and give the merged folder",
    });
  // Canonical names begin with the part that follows the model's own `model.`.
  const module = canonicalName(`${match[1]}.`).slice(0, -1);
  return { module, part: match[2] === "A" ? "a" : "b" };
}

function requireShape(
  file: string,
  name: string,
  found: readonly number[],
  wanted: readonly number[],
): void {
  if (found.join() === wanted.join()) return;
  throw new VigorlError(
    "input",
    `${file}: ${name} is [${found.join(", ")}], its model and configuration ask for [${wanted.join(", ")}]`,
    { hint: "the adapter belongs to another model, or adapter_config.json to another adapter" },
  );
}

/**
 * Writes an adapter folder, in one step: beside its place, then renamed over what stood there.
 * @param config of all layers; `base` as it is to be named
 * @throws VigorlError "io"
 */
export async function saveAdapterFolder(
  model: VisionLanguageModel,
  adapter: Adapter,
  folder: string,
  config: AdapterConfig,
  extra?: (folder: string) => Promise<void>,
): Promise<void> {
  const json = peftConfig(model, adapter, config);
  await replaceFolderAtomic(folder, async (beside) => {
    await writeFile(join(beside, adapterConfigFile), `${JSON.stringify(json, null, 2)}\n`);
    const tensors: Parameters = new Map();
    for (const [name, parameter] of adapter.params)
      tensors.set(`base_model.model.${modulePaths(name)}`, parameter);
    writeSafetensors(join(beside, weightsFile), tensors, { metadata: { format: "pt" } });
    await extra?.(beside);
  });
}

function peftConfig(
  model: VisionLanguageModel,
  adapter: Adapter,
  config: AdapterConfig,
): Record<string, unknown> {
  return {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: config.base,
    inference_mode: true,
    r: config.rank,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    use_rslora: config.rslora,
    rank_pattern: config.rankPattern,
    alpha_pattern: config.alphaPattern,
    target_modules: targetNames(model, adapter),
    bias: "none",
    fan_in_fan_out: false,
    init_lora_weights: true,
    use_dora: false,
    modules_to_save: null,
  };
}

/** The shortest names by which peft finds these layers and no others: ends of paths, else whole paths. */
function targetNames(model: VisionLanguageModel, adapter: Adapter): string[] {
  const all = layerPaths(model);
  const own = [...adapter.ranks.keys()];
  const ends = [...new Set(own.map((module) => all.get(module)!.split(".").at(-1)!))].sort();
  // Names such as `mlp.0` end in numbers that mean nothing by themselves; peft can adapt a convolution.
  const isPlain = ends.every((end) => !/^\d+$/.test(end) && end !== "proj");
  if (isPlain && chooseLayers(all, { targets: ends }).length === own.length) return ends;
  return own.map((module) => all.get(module)!).sort();
}
