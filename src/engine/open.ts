/**
 * The only place that knows the kinds of engines. A recipe names its engine in one section, and so do
 * a teacher and whoever collects: `{ kind: local | openai | tinker, … }`. What is asked of an engine is checked
 * before it is opened, and cheap things come before dear ones.
 */
import { z } from "zod";
import { VigorlError } from "../core/errors.ts";
import { hubModelFolder } from "../model/hub-model.ts";
import { isLearner, requireCapabilities, type Needs } from "./capabilities.ts";
import type { EngineKind, Learning, Memory, OpenOptions, ResolveOptions } from "./kind.ts";
import { localKind } from "./local/kind.ts";
import { openaiKind } from "./openai/kind.ts";
import { tinkerKind } from "./tinker/kind.ts";
import type { Price } from "./remote/price.ts";
import type { Learner, Sampler } from "./types.ts";

/** One line an engine. The first is meant where a section names no kind. */
export const engineKinds = [localKind, openaiKind, tinkerKind] as const;

type SchemasOf<K extends readonly { readonly schema: z.ZodObject }[]> = {
  -readonly [I in keyof K]: K[I]["schema"];
};

const union = z.discriminatedUnion(
  "kind",
  engineKinds.map(({ schema }) => schema) as unknown as SchemasOf<typeof engineKinds>,
);

const defaultKind = kindName(engineKinds[0]);

/** The `engine` section of a recipe, and the same object wherever another engine is named. */
export const engineSchema = z.preprocess(
  (input) =>
    typeof input === "object" && input !== null && !("kind" in input)
      ? { kind: defaultKind, ...input }
      : input,
  union,
);
export type EngineConfig = z.output<typeof union>;

/** Refuses, by the kind alone, what an engine of it can never do. @throws VigorlError("usage") */
export function requireOfKind(config: EngineConfig, needs: Needs): void {
  requireCapabilities({ name: `an engine of kind ${config.kind}`, ...kindOf(config).can }, needs);
}

/**
 * Where prompts for an engine get tokenizer, chat template and preprocessor from.
 * @param fallback the folder of another engine whose prompts may be used
 * @throws VigorlError("usage") where neither names a folder
 */
export function processorFolder(config: EngineConfig, fallback?: string): string {
  const folder = kindOf(config).processorFolder(config) ?? fallback;
  if (folder !== undefined) return folder;
  throw new VigorlError(
    "usage",
    `engine: kind ${config.kind} names no folder of tokenizer, chat template and preprocessor`,
    {
      hint: "set engine.folder to the served model's own (config.json, tokenizer.json, tokenizer_config.json, preprocessor_config.json; no weights); where exact tokens do not matter, that of any Qwen vision-language model",
    },
  );
}

/** The engine with folders in place of what else names them; by default those of the hub's cache, fetched where they are missing. */
export async function withModelFolders(
  config: EngineConfig,
  folderOf: (path: string) => Promise<string> = (path) => hubModelFolder(path),
): Promise<EngineConfig> {
  if (config.kind === "local") {
    const { model, adapter } = config;
    const over = adapter === undefined ? {} : { adapter: await folderOf(adapter) };
    return { ...config, model: await folderOf(model), ...over };
  }
  if (!("folder" in config) || config.folder === undefined) return config;
  return { ...config, folder: await folderOf(config.folder) };
}

/** The engine on other weights. @throws VigorlError("usage") where its weights are not ours to choose */
export function onWeights(config: EngineConfig, weights: string): EngineConfig {
  const moved = kindOf(config).onWeights?.(config, weights);
  if (moved !== undefined) return moved;
  throw new VigorlError("usage", `an engine of kind ${config.kind} cannot open ${weights}`, {
    hint: "the weights are the server's; name its model or checkpoint in the engine's section",
  });
}

/** Folder of the adapter that an engine opens over its weights, where there is one. */
export function adapterFolder(config: EngineConfig): string | undefined {
  return kindOf(config).adapterFolder?.(config);
}

/** What an engine's tokens cost, where its section says it. */
export function priceOf(config: EngineConfig): Price | undefined {
  return "price" in config ? config.price : undefined;
}

/** What people call an engine. */
export function engineLabel(config: EngineConfig): string {
  return kindOf(config).label(config);
}

/** Versions of what an engine computes with. */
export async function engineVersions(config: EngineConfig): Promise<Record<string, string>> {
  return (await kindOf(config).versions?.()) ?? {};
}

/** How many samples a resolved engine works on at once, where it knows. */
export function numPlaces(config: EngineConfig): number | undefined {
  return kindOf(config).numPlaces?.(config);
}

/** What a resolved engine will hold of this machine's memory, where it is here. */
export async function memoryOf(
  config: EngineConfig,
  learning?: Learning,
): Promise<Memory | undefined> {
  return kindOf(config).memory?.(config, learning);
}

/** Puts values in the place of every `auto`, without loading weights. */
export function resolveEngine(
  config: EngineConfig,
  options: ResolveOptions = {},
): Promise<EngineConfig> {
  return kindOf(config).resolve(config, options);
}

/**
 * Opens an engine, preferably a resolved one.
 * @throws VigorlError("usage") where it lacks what is needed; it is closed again then
 */
export async function openSampler(
  config: EngineConfig,
  needs: Needs,
  options: OpenOptions,
): Promise<Sampler> {
  requireOfKind(config, needs);
  const engine = await kindOf(config).open(config, options);
  try {
    requireCapabilities(engine.capabilities, needs);
    return engine;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** Opens an engine that learns. @throws as `openSampler` */
export async function openLearner(
  config: EngineConfig,
  { purpose, capabilities }: Needs,
  options: OpenOptions,
): Promise<Learner> {
  const needs: Needs = { purpose, capabilities: ["learn", ...capabilities] };
  const engine = await openSampler(config, needs, options);
  if (isLearner(engine)) return engine;
  throw new Error(`${config.kind}: says that it learns, and does not`);
}

/** The kind of a section. The union has made sure that it fits. */
function kindOf(config: EngineConfig): EngineKind<z.ZodObject, EngineConfig> {
  const kind = engineKinds.find((one) => kindName(one) === config.kind);
  return kind as unknown as EngineKind<z.ZodObject, EngineConfig>;
}

function kindName({ schema }: { readonly schema: z.ZodObject }): string {
  const { kind } = schema.shape;
  return kind instanceof z.ZodLiteral ? String(kind.value) : "";
}
