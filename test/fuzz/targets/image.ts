/** Pictures in the formats that are read, cut and changed. */
import sharp from "sharp";
import { decodeImage } from "../../../src/image/decode.ts";
import { mutateBytes } from "../mutate.ts";
import type { Target } from "../target.ts";

const pixels = Buffer.from(Array.from({ length: 24 * 16 * 3 }, (_, i) => (i * 37) % 256));
const drawn = () => sharp(pixels, { raw: { width: 24, height: 16, channels: 3 } });
const seeds = await Promise.all([
  drawn().png().toBuffer(),
  drawn().png({ palette: true }).toBuffer(),
  drawn().jpeg().withMetadata({ orientation: 6 }).toBuffer(),
  drawn().jpeg({ progressive: true }).toBuffer(),
  drawn().webp().toBuffer(),
  drawn().gif().toBuffer(),
  drawn().tiff().toBuffer(),
]);

export const image: Target = {
  name: "image",
  extension: ".img",
  input: (random) => mutateBytes(random.pick(seeds), random),
  run: (file) => decodeImage(file, { maxPixels: 16_000_000 }),
};
