/**
 * The vision tower's input on a device: pixels travel as bytes, an eighth of what their normalised
 * patches take, and are cut and normalised there to the bits of `patches` (src/image/model-image.ts).
 * Legend: h × w patches of side p, m × m of them a token, F frames of a patch.
 */
import { normalisationTables, patches, type ModelImage } from "../image/model-image.ts";
import type { PreprocessorConfig } from "../image/preprocessor-config.ts";
import { cat, type Tensor } from "../torch/ops.ts";
import { noGrad, scope } from "../torch/scope.ts";
import { tensor, type Device } from "../torch/tensor.ts";
import type { Look, VisionLanguageModel } from "./vision-language-model.ts";

/** Features of images in one pass of the tower, as `encodeImages`, from pixels. */
export function encodePixels(
  model: VisionLanguageModel,
  images: readonly ModelImage[],
  config: PreprocessorConfig,
): Tensor {
  return model.encodePatches(allPatches(model, images, config), gridsOf(images));
}

/** As `encodePixels`, to be followed by the backward pass: see `look`. */
export function lookAtPixels(
  model: VisionLanguageModel,
  images: readonly ModelImage[],
  config: PreprocessorConfig,
  recompute: boolean,
): Look {
  return model.look(allPatches(model, images, config), gridsOf(images), recompute);
}

const gridsOf = (images: readonly ModelImage[]) => images.map(({ grid }) => grid);

function allPatches(
  model: VisionLanguageModel,
  images: readonly ModelImage[],
  config: PreprocessorConfig,
): Tensor {
  const { device } = model;
  if (device === "cpu") return model.patchesOf(images, (image) => patches(image, config));
  return cat(
    images.map((image) => patchesOn(image, config, device)),
    0,
  );
}

/** Flattened patches [h · w, 3 · F · p²] of an image, float32; owned by the caller's scope. */
export function patchesOn(image: ModelImage, config: PreprocessorConfig, device: Device): Tensor {
  const { patchSize: p, temporalPatchSize: frames, mergeSize: m } = config;
  const { h, w } = image.grid;
  return noGrad(() =>
    scope(() => {
      const levels = tensor(image.data, {
        shape: [h / m, m, p, w / m, m, p, 3],
        device,
      });
      const tables = new Float32Array(3 * 256);
      for (const [channel, table] of normalisationTables(config).entries())
        tables.set(table, 256 * channel);
      const first = tensor(Int32Array.of(0, 256, 512), { dtype: "int64", device });
      const entries = levels.to("int64").add(first);
      // To token row, token column, patch row, patch column, channel, y, x.
      const inOrder = entries.permute([0, 3, 1, 4, 6, 2, 5]).reshape([-1]);
      const values = tensor(tables, { device }).indexSelect(0, inOrder);
      return values
        .view([h * w, 3, 1, p * p])
        .expand([h * w, 3, frames, p * p])
        .reshape([h * w, 3 * frames * p * p]);
    }),
  );
}
