/** The engine on this machine, as `open.ts` knows it. */
import { given } from "../../core/auto.ts";
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
  label: ({ model }) => model,
  async versions() {
    const { torchFacts } = await torchDevice();
    const { version, blas } = torchFacts();
    return { libtorch: version, blas };
  },
  processorFolder: ({ model }) => findModelFolder(model),
  onWeights: (config, model) => ({ ...config, model }),
  async resolve(config, { trainable }) {
    const model = findModelFolder(config.model);
    const options = { ...(await optionsOf(config)), trainable };
    const { localSizes } = await import("./sizes.ts");
    const sizes = await localSizes(model, options);
    return {
      ...config,
      model,
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
  async open(config, { trainable }) {
    const { openLocalEngine } = await import("./client.ts");
    return openLocalEngine(config.model, { ...(await optionsOf(config)), trainable });
  },
};

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
    maxWeightsBytes: bytes(memory.weightsGiB),
    cacheBytes: bytes(memory.cacheGiB),
    featureBytes: bytes(memory.imagesGiB),
  };
}

/** Up, to what a person reads. */
function rounded(bytes: number): number {
  return Math.ceil((bytes / GIB) * 1000) / 1000;
}
