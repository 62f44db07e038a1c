/** A packed and recorded tower sees what the tower sees, under the weights it was last told of. */
import { expect, it } from "vitest";
import { testDevice } from "../../test/fixtures/device.ts";
import { liveTensors, noGrad, scope } from "../torch/scope.ts";
import { goldenPatches, maxDifference, readGolden } from "./fixtures/golden.ts";
import { loadModelFolder } from "./folder.ts";
import { TowerTapes } from "./tower-tapes.ts";

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
        return { plain, taped: tapes.encode(image, patches).toNumbers() };
      }),
    );
  expect(new Set(images.map(({ grid }) => `${grid.h},${grid.w}`)).size).toBeGreaterThan(1);
  const before = both();
  for (const { plain, taped } of before) expect(maxDifference(taped, plain)).toBeLessThan(1e-5);
  noGrad(() => model.vision.mergerOut.weight.mul_(1.5));
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
