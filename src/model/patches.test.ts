/** Patches that are cut on the device are those that are cut here, to the bit. */
import { expect, test } from "vitest";
import { testDevice } from "../../test/fixtures/device.ts";
import { stream } from "../core/random.ts";
import { patches14 } from "../image/fixtures/preprocessor.ts";
import { patches, toModelImage } from "../image/model-image.ts";
import { scope } from "../torch/scope.ts";
import { patchesOn } from "./patches.ts";

test.each([
  [56, 56],
  [84, 140],
  [280, 28],
])("an image of %i × %i", (widthPx, heightPx) => {
  const random = stream(1, "patches");
  const data = Uint8Array.from({ length: widthPx * heightPx * 3 }, () => random.int(0, 255));
  const pixels = widthPx * heightPx;
  const budget = { minPixels: pixels, maxPixels: pixels };
  const image = toModelImage({ widthPx, heightPx, data }, budget, patches14);
  const made = scope(() => patchesOn(image, patches14, testDevice).toArray());
  expect(made).toEqual(patches(image, patches14));
});
