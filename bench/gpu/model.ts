/** A model folder of random weights, drawn on the device and written once. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ModelConfig } from "../../src/model/config.ts";
import { familyOf, parseModelConfig } from "../../src/model/families/table.ts";
import { isNorm, parameterShapes } from "../../src/model/parameters.ts";
import { manualSeed } from "../../src/torch/device.ts";
import { ones, randn, zeros, type Tensor } from "../../src/torch/ops.ts";
import { writeSafetensorsFolder } from "../../src/torch/safetensors-write.ts";
import { noGrad, scope } from "../../src/torch/scope.ts";
import type { Device } from "../../src/torch/tensor.ts";

export const preprocessorJson = {
  image_processor_type: "Qwen2VLImageProcessor",
  patch_size: 14,
  temporal_patch_size: 2,
  merge_size: 2,
  min_pixels: 3136,
  max_pixels: 12_845_056,
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
};

/** Writes the folder: weights in bfloat16, no tokenizer and no end tokens, so that samples go on. */
export async function writeRandomModel(
  folder: string,
  json: Record<string, unknown>,
  device: Device,
): Promise<ModelConfig> {
  const config = parseModelConfig(json, "bench");
  await mkdir(folder, { recursive: true });
  const files = {
    "config.json": json,
    "preprocessor_config.json": preprocessorJson,
    "generation_config.json": {},
  };
  for (const [name, content] of Object.entries(files))
    await writeFile(join(folder, name), `${JSON.stringify(content, null, 1)}\n`);
  const { publishedName } = familyOf(config.family, folder);
  manualSeed(1);
  noGrad(() =>
    scope(() => {
      const weights = new Map<string, Tensor>();
      for (const [name, shape] of parameterShapes(config))
        weights.set(
          publishedName(name),
          scope(() => draw(name, shape, device)),
        );
      writeSafetensorsFolder(folder, weights);
    }),
  );
  return config;
}

function draw(name: string, shape: readonly number[], device: Device): Tensor {
  const options = { dtype: "bfloat16", device } as const;
  if (isNorm(name)) return ones([...shape], options);
  if (name.endsWith(".bias")) return zeros([...shape], options);
  return randn([...shape], options).mul_(0.02);
}
