/** Pixels of the crops that the published rollout shows. */
import { zoom } from "../../../src/image/crop.ts";
import { noiseImage } from "../../../src/image/fixtures/noise.ts";
import { sha256 } from "../../../src/image/fixtures/digest.ts";
import { point } from "../../../src/image/frames.ts";
import type { Kind } from "../kind.ts";

interface Input {
  readonly picture: readonly [number, number, number];
  readonly at: readonly [number, number];
  readonly offset: number;
  readonly side: number;
  readonly dot: boolean;
}

/** Few pictures, so that they are made once. */
const pictureSizes = [
  [200, 150, 2],
  [150, 320, 4],
  [448, 392, 6],
] as const;

export const crops: Kind<Input> = {
  name: "crops",
  make(random, style) {
    const picture = random.pick(pictureSizes);
    const [width, height] = picture;
    const isOdd = style === "hostile";
    const margin = isOdd ? 300 : 0;
    const number = (limit: number) => random.int(-margin, limit + margin);
    const part = isOdd && random.chance(0.5) ? () => random.int(0, 99) / 100 : () => 0;
    return {
      picture,
      at: [number(width) + part(), number(height) + part()],
      offset: isOdd ? random.int(1, 60) : random.pick([50, 100, 182]),
      side: isOdd ? random.int(1, 120) : random.pick([112, 128, 84]),
      dot: random.chance(0.5),
    };
  },
  ask: ({ picture, at, offset, side, dot }) => [picture, at, offset, side, dot],
  ours({ picture: [width, height, seed], at: [x, y], offset, side, dot }) {
    const settings = { windowPx: 2 * offset, outputPx: side, drawDot: dot, mode: "repo" } as const;
    const size = { widthPx: width, heightPx: height };
    const cut = zoom(noise(width, height, seed), point("resized", x, y), size, settings, {
      tokenPx: 28,
    });
    if (!cut.ok) return null;
    const { widthPx, heightPx, data } = cut.crop.image;
    return { size: [widthPx, heightPx], sha256: sha256(data) };
  },
  differences: [
    {
      reason: "the dot of a point with decimals may lie a sub-pixel aside",
      covers: ({ at, dot }) => dot && !at.every(Number.isInteger),
    },
  ],
};

const made = new Map<number, ReturnType<typeof noiseImage>>();

function noise(width: number, height: number, seed: number) {
  const image = made.get(seed) ?? noiseImage(width, height, seed);
  made.set(seed, image);
  return image;
}
