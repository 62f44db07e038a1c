/**
 * Fresh random weights for a configuration: normal with the configuration's standard deviation
 * (0.02 as published), biases zero, norms without effect, and delta nets' rates of forgetting spread as
 * their authors do. Draws come from our own seeded stream, so that a
 * seed gives the same model on every libtorch and device.
 */
import { stream } from "../core/random.ts";
import { scope } from "../torch/scope.ts";
import { tensor, type Device, type DType } from "../torch/tensor.ts";
import type { ModelConfig } from "./config.ts";
import { isNorm, isVision, parameterShapes, type Parameters } from "./parameters.ts";
import { VisionLanguageModel } from "./vision-language-model.ts";

export interface InitOptions {
  readonly seed: number;
  readonly dtype?: DType;
  readonly device?: Device;
}

/** Makes a model of random weights; the draw of a parameter depends on the seed and its name alone. */
export function initModel(config: ModelConfig, options: InitOptions): VisionLanguageModel {
  const { seed, dtype = "float32", device = "cpu" } = options;
  const params: Parameters = new Map();
  for (const [name, shape] of parameterShapes(config)) {
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
    const constant = constantOf(name, config);
    if (constant === undefined) {
      const random = stream(seed, "init", name);
      for (let i = 0; i < data.length; i++)
        data[i] = name.endsWith(".A_log")
          ? Math.log(random.uniform(0.01, 16))
          : random.normal() * config.initializerRange;
    } else data.fill(constant);
    params.set(
      name,
      scope(() => tensor(data, { shape: [...shape], device }).to(dtype)),
    );
  }
  return new VisionLanguageModel(config, params);
}

/** What all numbers of a parameter begin as, where it is not drawn. */
function constantOf(name: string, { text }: ModelConfig): number | undefined {
  if (name.endsWith(".dt_bias")) return 1;
  if (name.endsWith(".bias")) return 0;
  if (!isNorm(name)) return undefined;
  const isCentred = text.centredNorms && !isVision(name) && !name.includes(".linear_attn.");
  return isCentred ? 0 : 1;
}
