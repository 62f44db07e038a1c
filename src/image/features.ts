/**
 * A few figures of a picture that tell kinds of pictures apart: photographs from drawings, screenshots
 * from scans. Cheap at any size, since only some thousand pixels are looked at.
 */
import type { RgbImage } from "./decode.ts";

export interface PictureFeatures {
  /** Width to height. */
  readonly aspect: number;
  readonly sidePx: number;
  /** Mean level, 0 to 1. */
  readonly brightness: number;
  /** Standard deviation of the levels. */
  readonly contrast: number;
  /** Mean distance of the strongest and the weakest channel, 0 to 1. */
  readonly saturation: number;
  /** Mean step of the level from a pixel to its right neighbour. */
  readonly texture: number;
}

export function pictureFeatures({ widthPx, heightPx, data }: RgbImage): PictureFeatures {
  const columns = Math.min(GRID, widthPx);
  const rows = Math.min(GRID, heightPx);
  let sum = 0;
  let squares = 0;
  let colour = 0;
  let steps = 0;
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const x = Math.floor(((column + 0.5) * widthPx) / columns);
      const at = 3 * (Math.floor(((row + 0.5) * heightPx) / rows) * widthPx + x);
      const level = levelAt(data, at);
      sum += level;
      squares += level * level;
      const [r, g, b] = [data[at], data[at + 1], data[at + 2]];
      colour += (Math.max(r, g, b) - Math.min(r, g, b)) / 255;
      if (x + 1 < widthPx) steps += Math.abs(levelAt(data, at + 3) - level);
    }
  const num = rows * columns;
  const brightness = sum / num;
  return {
    aspect: widthPx / heightPx,
    sidePx: Math.max(widthPx, heightPx),
    brightness,
    contrast: Math.sqrt(Math.max(0, squares / num - brightness * brightness)),
    saturation: colour / num,
    texture: steps / num,
  };
}

const GRID = 96;

function levelAt(data: Uint8Array, at: number): number {
  return (data[at] + data[at + 1] + data[at + 2]) / 765;
}

export type FeatureRanges = Partial<Record<keyof PictureFeatures, [low: number, high: number]>>;

/** The span of each feature, half of it more on either side, rounded. */
export function rangesOf(seen: readonly PictureFeatures[]): Required<FeatureRanges> {
  const spread = (name: keyof PictureFeatures): [number, number] => {
    const values = seen.map((features) => features[name]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = (high - low) / 2;
    const rounded = (value: number) => Number(value.toFixed(4));
    return [rounded(Math.max(0, low - room)), rounded(high + room)];
  };
  return {
    aspect: spread("aspect"),
    sidePx: spread("sidePx"),
    brightness: spread("brightness"),
    contrast: spread("contrast"),
    saturation: spread("saturation"),
    texture: spread("texture"),
  };
}

/** Ranges that hold more pictures, too; a feature without a range stays without one. */
export function widened(ranges: FeatureRanges, seen: readonly PictureFeatures[]): FeatureRanges {
  const own = rangesOf(seen);
  return Object.fromEntries(
    Object.entries(ranges).map(([name, [low, high]]) => {
      const [least, most] = own[name as keyof PictureFeatures];
      return [name, [Math.min(low, least), Math.max(high, most)]];
    }),
  ) as FeatureRanges;
}
