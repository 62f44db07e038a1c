/** The engine on this machine, as `open.ts` knows it. */
import { given } from "../../core/auto.ts";
import { VigorlError } from "../../core/errors.ts";
import { findPath, programName } from "../../core/paths.ts";
import { baseOf, isAdapterFolder } from "../../model/adapter-config.ts";
import { prepareAddon } from "../../torch/addon.ts";
import type { EngineKind } from "../kind.ts";
import { localCapabilities } from "./capabilities.ts";
import { localSchema, type LocalConfig } from "./config.ts";
import { findModelFolder } from "./find-folder.ts";
import type { LocalOptions } from "./protocol.ts";

const GIB = 2 ** 30;

export const localKind: EngineKind<typeof localSchema> = {
  schema: localSchema,
  can: localCapabilities,
  label: ({ model, adapter }) => adapter ?? model,
  async versions() {
    const { torchFacts } = await torchDevice();
    const { version, blas } = torchFacts();
    return { libtorch: version, blas };
  },
  processorFolder: (config) => findModelFolder(weightsOf(config).model),
  adapterFolder: (config) => weightsOf(config).adapter,
  onWeights: ({ adapter: _, ...config }, model) => ({ ...config, model }),
  async resolve(config, { trainable, lora, learning }) {
    const { model: named, adapter } = weightsOf(config);
    const model = findModelFolder(named);
    if (adapter !== undefined && trainable !== undefined && lora === undefined)
      throw new VigorlError(
        "usage",
        `${adapter}: is an adapter, and the recipe trains whole weights`,
        {
          hint: `go on with the adapter by a lora section, or merge it first: ${programName} merge`,
        },
      );
    const learns = trainable !== undefined;
    const options = { ...(await optionsOf(config)), learns, trainable, lora, learning };
    const { localSizes } = await import("./sizes.ts");
    const sizes = await localSizes(model, options);
    return {
      ...config,
      model,
      ...(adapter === undefined ? {} : { adapter }),
      device: sizes.device,
      dtype: sizes.dtype as LocalConfig["dtype"],
      maxPositions: sizes.maxPositions,
      slots: sizes.numSlots,
      samplers: sizes.samplers,
      threads: sizes.threads,
      tokensPerMicroBatch: sizes.tokensPerMicroBatch,
      memory: {
        weightsGiB: given(config.memory.weightsGiB) ?? rounded(sizes.weightsBytes),
        cacheGiB: given(config.memory.cacheGiB) ?? rounded(sizes.cacheBytes),
        imagesGiB: sizes.featureBytes / GIB,
      },
    };
  },
  numPlaces({ slots, samplers }) {
    const [each, workers] = [given(slots), given(samplers)];
    return each === undefined || workers === undefined ? undefined : each * workers;
  },
  async memory(config, learning) {
    const { model } = weightsOf(config);
    const learns = learning !== undefined;
    const options = { ...(await optionsOf(config)), learns, learning };
    const { freeMemory, learningPlan, localSizes } = await import("./sizes.ts");
    const { estimate } = await import("./estimate.ts");
    const { readModelConfig } = await import("../../model/folder.ts");
    const sizes = await localSizes(model, options);
    const { device } = sizes;
    const shares = estimate(await readModelConfig(model), sizes, learningPlan(options, device));
    return { shares, device, freeBytes: freeMemory(device) };
  },
  async open(config, { trainable, lora, learning }) {
    const { openLocalEngine } = await import("./client.ts");
    const { model, adapter } = weightsOf(config);
    const learns = trainable !== undefined;
    const options = { ...(await optionsOf(config)), learns, learning, trainable, lora, adapter };
    return openLocalEngine(model, options);
  },
};

/** Folders of the base and of its adapter; a model folder that is an adapter's names its base. */
function weightsOf({ model, adapter }: LocalConfig): { model: string; adapter?: string } {
  const folder = findPath(model);
  if (adapter !== undefined) return { model: folder, adapter: findPath(adapter) };
  return isAdapterFolder(folder) ? { model: baseOf(folder), adapter: folder } : { model: folder };
}

/** The tensor library is built and loaded only where it is needed. */
async function torchDevice() {
  await prepareAddon();
  return import("../../torch/device.ts");
}

async function optionsOf(config: LocalConfig): Promise<LocalOptions> {
  const { resolveDevice } = await torchDevice();
  const { memory } = config;
  const bytes = (gib: LocalConfig["memory"]["cacheGiB"]) => {
    const number = given(gib);
    return number === undefined ? undefined : number * GIB;
  };
  return {
    device: resolveDevice(config.device),
    dtype: given(config.dtype),
    maxPositions: given(config.maxPositions),
    numSlots: given(config.slots),
    samplers: given(config.samplers),
    threads: given(config.threads),
    tokensPerMicroBatch: given(config.tokensPerMicroBatch),
    gradientCheckpointing: config.gradientCheckpointing,
    maxWeightsBytes: bytes(memory.weightsGiB),
    cacheBytes: bytes(memory.cacheGiB),
    featureBytes: bytes(memory.imagesGiB),
  };
}

/** Up, to what a person reads. */
function rounded(bytes: number): number {
  return Math.ceil((bytes / GIB) * 1000) / 1000;
}
