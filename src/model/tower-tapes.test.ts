/** A packed and recorded tower sees what the tower sees, under the weights it was last told of. */
import { expect, it } from "vitest";
import { testDevice } from "../../test/fixtures/device.ts";
import { hasKernelsFor } from "../torch/kernels.ts";
import { liveTensors, noGrad, scope } from "../torch/scope.ts";
import { tensor } from "../torch/tensor.ts";
import { patchDim } from "./config.ts";
import { goldenPatches, maxDifference, readGolden } from "./fixtures/golden.ts";
import { loadModelFolder } from "./folder.ts";
import type { VisionLanguageModel } from "./vision-language-model.ts";
import type { Grid } from "./rope.ts";
import { TowerTapes } from "./tower-tapes.ts";
import { PackedTower } from "./vision-packed.ts";

it("gives the features of encodeImages for every image, also after the weights changed", async () => {
  const golden = readGolden("windows");
  const patchesOf = goldenPatches(golden);
  const model = await loadModelFolder(golden.folder, { device: testDevice });
  const images = golden.sequences
    .flat()
    .flatMap((chunk) => (chunk.type === "image" ? [chunk.image] : []));
  const tapes = new TowerTapes(model);
  const both = () =>
    images.map((image) =>
      scope(() => {
        const patches = patchesOf(image);
        const plain = noGrad(() => model.encodeImages([image], () => patches)).toNumbers();
        const taped = tapes.encode(image, patches).toNumbers();
        // The bits of a tower that is not recorded.
        expect(taped).toEqual(unrecorded(model, image.grid, patches));
        return { plain, taped };
      }),
    );
  expect(new Set(images.map(({ grid }) => `${grid.h},${grid.w}`)).size).toBeGreaterThan(1);
  const before = both();
  for (const { plain, taped } of before) expect(maxDifference(taped, plain)).toBeLessThan(1e-5);
  noGrad(() => model.vision.mergers[0].out.weight.mul_(1.5));
  tapes.weightsChanged();
  const held = liveTensors();
  const after = both();
  for (const [i, { plain, taped }] of after.entries()) {
    expect(maxDifference(taped, plain)).toBeLessThan(1e-5);
    expect(taped).not.toEqual(before[i].taped);
  }
  expect(liveTensors()).toBe(held);
  tapes.dispose();
  model.dispose();
});

function unrecorded(model: VisionLanguageModel, grid: Grid, patches: Float32Array): number[] {
  const { dtype, device } = model;
  const packed = hasKernelsFor(dtype, device) ? new PackedTower(model) : undefined;
  const shape = [grid.t * grid.h * grid.w, patchDim(model.config.vision)];
  const data = tensor(patches, { shape, device });
  const features = noGrad(() => model.encodePatches(data, [grid], packed)).toNumbers();
  packed?.dispose();
  return features;
}
