/**
 * Fresh random weights for a configuration: normal with the configuration's standard deviation
 * (0.02 as published), biases zero, norm gains one. Draws come from our own seeded stream, so that a
 * seed gives the same model on every libtorch and device.
 */
import { stream } from "../core/random.ts";
import { scope } from "../torch/scope.ts";
import { tensor, type Device, type DType } from "../torch/tensor.ts";
import type { ModelConfig } from "./config.ts";
import { isNorm, parameterShapes, type Parameters } from "./parameters.ts";
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
    if (isNorm(name)) {
      data.fill(1);
    } else if (!name.endsWith(".bias")) {
      const random = stream(seed, "init", name);
      for (let i = 0; i < data.length; i++) data[i] = random.normal() * config.initializerRange;
    }
    params.set(
      name,
      scope(() => tensor(data, { shape: [...shape], device }).to(dtype)),
    );
  }
  return new VisionLanguageModel(config, params);
}
